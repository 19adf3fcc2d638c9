/* SPDX-License-Identifier: MIT */
/* The control clients that this instance has been in the cluster since the host booted. One that is not the
 * present one is dead, whatever the cluster still shows of it: there is one daemon per instance, and its
 * connection is replaced only once it was blocklisted. */
#pragma once

#include "volume/engine.h"

/* Reads what earlier daemons were. A file that cannot be read is as good as none: what they left then has to
 * wait until its watch has lapsed. */
void former_start(struct volumes *e);

/* cluster_start's on_client: writes the new one down before it does anything. arg is the engine. */
void former_add(void *arg, const char *address);

/* Was this client one of ours, and is not the present one? */
bool former_has(struct volumes *e, const char *address);

/* Is it the present one? */
bool former_is_present(struct volumes *e, const char *address);
