/* SPDX-License-Identifier: MIT */
/* systemd scopes: a process that must outlive the service that started it, and be there until its volume is
 * unmounted. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"

struct scope {
    const char *name;        /* "rbdvol-rbd-68f0…": without ".scope" */
    const char *description; /* what `systemctl status` shows */
    const char *mountpoint;  /* the scope is stopped after this was unmounted; NULL: nothing to wait for */
};

/* Moves a process out of our cgroup into a scope that systemd leaves alone until shutdown, and stops then
 * after the mount and before the network, without ever sending SIGKILL. Returns 1; 0: systemd does not run
 * here; negative: it would not (the process stays where it is: KillMode=process spares it there). Waits for
 * nobody but PID 1, and for that no longer than the deadline. */
int scope_move(const struct scope *scope, pid_t pid, moment deadline, struct error *err);

/* The name of the mount unit of a path: "/mnt/a-b" is "mnt-a\x2db.mount" (systemd.unit(5)). The path is
 * absolute and free of "." and "..". -ENAMETOOLONG: it has none, systemd ignores such mounts. */
int scope_mount_unit(const char *path, char *buf, size_t size);
