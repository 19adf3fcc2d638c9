/* SPDX-License-Identifier: MIT */
/* The process that a mounted volume was mapped by has ended, and the kernel's device waits for another. */
#pragma once

#include "volume/engine.h"

/* Starts another, if nobody else had the image since: its lock and owner record must still be those of the
 * process that ended, whose client is fenced first. 0: the I/O goes on; -EAGAIN: the cluster could not be
 * asked, and the kernel still waits; others: the volume is lost. For who has the gate. */
int reattach_run(struct volumes *e, struct volume *v, struct error *err);
