/* SPDX-License-Identifier: MIT */
/* Mounting and unmounting a volume, in the calling process: any of this can hang (host/device.h runs it where
 * it may). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "host/device.h"

/* What libmount's table (/run/mount/utab, read by findmnt(8), umount(8) and systemd) is to be told of a mount
 * or an unmount: later, since nobody waits for that. */
struct mount_news {
    struct libmnt_context *mounted;
    char *unmounted; /* a mountpoint */
};

/* Tells it. Of nothing, or again: nothing happens. */
void mount_tell(struct mount_news *news);

/* The contracts are those of device_mount, device_fresh and device_umount. *news, which must be told some
 * time, is the caller's. */
int mount_verified(const struct device_node *node, const struct device_mount *m, struct mount_news *news,
                   struct error *err);
int mount_fresh(const char *mountpoint, uint32_t uid, uint32_t gid, uint32_t mode, struct error *err);
int mount_remove(const char *mountpoint, const struct device_node *node, bool lazily, struct mount_news *news,
                 struct error *err);
