/* SPDX-License-Identifier: MIT */
/* Grows file systems to the size of their device, in the calling process: host/device.h runs it where it may
 * hang. */
#pragma once

#include "host/device.h"
#include "host/fs.h"

/* A mounted one, by its own ioctl; the contract is that of device_grow. */
int grow_mounted(const struct fs *fs, const struct device_node *node, const char *mountpoint, bool *grown,
                 struct error *err);

/* Must it grow before it is mounted? An enum grow_due, or a negative errno. */
int grow_is_due(const struct fs *fs, const char *device, struct error *err);

/* Grows an unmounted ext4 that was checked as a whole just now. Not safe against being cut off: the caller
 * has made sure that whoever comes next knows. */
int grow_unmounted(const char *device, moment deadline, struct error *err);
