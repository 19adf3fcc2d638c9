/* SPDX-License-Identifier: MIT */
/* Fails what waits for a mapper that is a process (mapper-fuse.c). */
#pragma once

#include "host/mapper.h"

#define FUSE_ABORT_FSTYPE "fuse.rbdvol"

/* struct mapper's fail(): aborts the file's connection, and ends the process. */
int fuse_abort(const struct mapping *m, struct error *err);
