/* SPDX-License-Identifier: MIT */
/* The root of a mounted file system, by its mountpoint and the device that it must be on. */
#pragma once

#include "base/error.h"
#include "host/device.h"

/* Opens it; the caller closes. -ENODEV: the device is not what one sees there. */
int mountroot_open(const char *mountpoint, const struct device_node *node, struct error *err);

/* The contract is that of device_trim. */
int mountroot_trim(const char *mountpoint, const struct device_node *node, uint64_t from, uint64_t length,
                   uint64_t *trimmed, struct error *err);
