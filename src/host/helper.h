/* SPDX-License-Identifier: MIT */
/* Where our helper programs are. */
#pragma once

#include <stddef.h>

/* The path of rbdvol-NAME. In the build tree: beside this program, or in the directory NAME next to its own.
 * Installed: in libexec. 0, or -ENAMETOOLONG. */
int helper_path(const char *name, char *buf, size_t size);
