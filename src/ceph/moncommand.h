/* SPDX-License-Identifier: MIT */
/* Commands to the monitors, as `ceph` sends them. */
#pragma once

#include <jansson.h>
#include <rados/librados.h>

/* Sends one command (JSON text). ret, when not NULL: its output, NULL when that is not JSON; the caller
 * decrefs. What follows the first JSON value is ignored (16.2's `osd blocklist ls` has a list of addresses
 * and one of ranges, without anything between them: the first counts). 0, or what librados or the monitor
 * said. */
int moncommand(rados_t rados, const char *text, json_t **ret);
