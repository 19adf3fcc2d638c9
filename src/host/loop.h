/* SPDX-License-Identifier: MIT */
/* Loop devices: a block device on a file. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "host/device.h"

/* Puts a loop device on the open file: direct I/O, and it frees itself when nobody has it open any more
 * (*ret_fd keeps it open until the caller closes it, or it is mounted). One that is on the file already is
 * used again. name: the file's, for losetup(8) and messages. -ENOSPC: no loop device is free. */
int loop_attach(int file, const char *name, uint32_t block_size, bool ro, struct device_node *ret,
                int *ret_fd, struct error *err);

/* The same for a file that nobody has had open before: none is looked for, which takes the longer the more
 * loop devices a host has. */
int loop_attach_first(int file, const char *name, uint32_t block_size, bool ro, struct device_node *ret,
                      int *ret_fd, struct error *err);

/* The loop device on the file of this name, by sysfs alone: touches neither, so it cannot hang on a dead one,
 * and finds it as long as the file's own mount has not been detached. Compares the last part of the name,
 * which must be unique. 1 found, 0 none. */
int loop_named(const char *file, struct device_node *ret);

/* The name of the file that this loop device ("/dev/loop3") is on, by sysfs: 1 found, 0 it is none. */
int loop_backing(const char *device, char *file, size_t size);

/* Gives the loop device the size that its file has by now. -ENODEV: it is not on this file. */
int loop_grow(int file, const char *name, const struct device_node *node, struct error *err);

/* Finds the loop device that is on the open file: 1 found (*ret_fd: open), 0 none. */
int loop_find(int file, const char *name, struct device_node *ret, int *ret_fd, struct error *err);
