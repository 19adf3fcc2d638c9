/* SPDX-License-Identifier: MIT */
/* Watches over what is mapped: that a mapping is lost, that its process has ended, that its I/O is stuck. One
 * thread for all of them. It listens to all mapping processes at a time, and waits for none: one that hangs
 * delays no news of another. */
#pragma once

#include "volume/engine.h"

/* Before anything is mapped or adopted. */
void watch_init(struct volumes *e);

/* Starts the thread. */
int watch_start(struct volumes *e, struct error *err);

/* Ends the thread. */
void watch_stop(struct volumes *e);

/* Forgets what was watched. */
void watch_free(struct volumes *e);

/* The volume's mapping is new to this daemon. Before it is unmapped, or with the gate. With the volume's lock
 * held. */
void watch_add(struct volumes *e, struct volume *v);
