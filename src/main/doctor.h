/* SPDX-License-Identifier: MIT */
/* `rbdvol doctor`: does this host have what volumes need, and how is what it lacks mended? Unlike the other
 * commands it reads the configuration and asks the cluster itself: it is for a host on which the daemon does
 * not start. */
#pragma once

#include "main/config.h"
#include "main/findings.h"

/* argv without "doctor": --json, and the flags of `serve`. Returns the exit status: 1 when something would
 * fail. */
int doctor_main(int argc, char **argv);

/* Its parts. */
void doctor_host(const struct settings *s, struct findings *f);
void doctor_ceph(const struct settings *s, struct findings *f);
void doctor_docker(const struct settings *s, struct findings *f);
