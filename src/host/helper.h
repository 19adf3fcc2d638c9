/* SPDX-License-Identifier: MIT */
/* Where our helper program rbdvol-device is. */
#pragma once

#include <stddef.h>

/* In the build tree: beside this program or beside its directory. Installed: in libexec. */
void helper_path(char *buf, size_t size);
