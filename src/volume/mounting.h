/* SPDX-License-Identifier: MIT */
/* Mount and Unmount: a holder comes, a holder goes; the physical steps follow (drive.h). */
#pragma once

#include "volume/engine.h"

/* Who calls, and whether he is still there. */
struct caller {
    pid_t pid; /* 0: unknown */
    bool (*left)(void *arg);
    void *arg;
};

struct grant; /* a holder that an answer hands out */

/* Adds a holder (id "": the flag) and waits until the volume is mounted. 0: mountpoint (PATH_MAX) is filled
 * and *grant is to be given to mount_sent. Otherwise the holders are as they were before. -EBUSY: somebody
 * else has it, or the steps take longer than the deadline and go on. -ENOENT: no such volume. -ECANCELED: the
 * caller left. */
int mount_volume(struct volumes *e, const char *name, const char *id, const struct caller *caller,
                 moment deadline, char mountpoint[static PATH_MAX], struct grant **grant, struct error *err);

/* What became of the answer; frees the grant. Not delivered: the holder goes, since Docker never unmounts
 * what it was not told. */
void mount_sent(struct volumes *e, struct grant *grant, bool delivered);

/* Takes a holder away, always; when it was the last, waits until the volume is down or the deadline. An error
 * tells what keeps it: the holder is gone all the same, and the rest is tried again in the background.
 * Unknown names and IDs succeed. */
int unmount_volume(struct volumes *e, const char *name, const char *id, moment deadline, struct error *err);
