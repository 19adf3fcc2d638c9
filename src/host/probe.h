/* SPDX-License-Identifier: MIT */
/* What is on a disk image, according to libblkid. */
#pragma once

#include "base/error.h"
#include "host/device.h"

/* Reads the file or device; the descriptor stays open. A superblock with a wrong checksum is something, too
 * (PROBE_OTHER): an image is empty only if nothing at all is there. */
int probe_fd(int fd, struct device_probe *ret, struct error *err);
