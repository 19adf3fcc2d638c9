/* SPDX-License-Identifier: MIT */
/* Grows file systems to the size of their device, in the calling process: host/device.h runs it where it may
 * hang. */
#pragma once

#include "host/device.h"
#include "host/fs.h"

/* A mounted one, by its own ioctl; the contract is that of device_grow. */
int grow_mounted(const struct fs *fs, const struct device_node *node, const char *mountpoint, bool *grown,
                 struct error *err);

/* One that is not mounted, where that is the only way that always works (ext4: e2fsck -f -p, then resize2fs;
 * the kernel grows a mounted one only with CAP_SYS_RESOURCE). The others grow once they are mounted. Nothing
 * is done when it fills its device. */
int grow_unmounted(const struct fs *fs, const char *device, moment deadline, struct error *err);
