/* SPDX-License-Identifier: MIT */
/* What the process has to be before its first thread starts. */
#pragma once

#include <rados/librados.h>
#include <stddef.h>

#include "base/error.h"

/* Signals, memory, core dumps, descriptors. What is refused for want of a capability goes into `warning` ("" if nothing was)
 * and is not an error. */
void setup_process(char *warning, size_t size);

/* Reads the keyring that `rados` is going to want, while we still may, into memory, and points it there. A keyring that
 * is not found is left to the connecting, which explains. */
int setup_keyring(rados_t rados, struct error *err);

/* Gives all capabilities away for good. */
int setup_drop(struct error *err);
