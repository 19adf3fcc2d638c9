/* SPDX-License-Identifier: MIT */
/* What the kernel says about a device while a system call fails: the errno of mount(2) is one of few, its
 * reason is only in the kernel's log ("XFS (loop3): Filesystem has duplicate UUID ..."). */
#pragma once

#include <stddef.h>

/* A descriptor that reads the log from now on; -1: not possible here, which is fine. */
int kmsg_open(void);

/* What was logged since then about this device ("loop3"), joined by "; "; "" if nothing. Keeps the first
 * lines. */
void kmsg_read(int fd, const char *device, char *buf, size_t size);
