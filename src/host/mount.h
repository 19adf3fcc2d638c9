/* SPDX-License-Identifier: MIT */
/* Mounting and unmounting a volume, in the calling process: any of this can hang (host/device.h runs it where
 * it may). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "host/device.h"

/* The contracts are those of device_mount, device_fresh and device_umount. */
int mount_verified(const struct device_node *node, const struct device_mount *m, struct error *err);
int mount_fresh(const char *mountpoint, uint32_t uid, uint32_t gid, uint32_t mode, struct error *err);
int mount_remove(const char *mountpoint, const struct device_node *node, bool lazily, struct error *err);
