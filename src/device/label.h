/* SPDX-License-Identifier: MIT */
#pragma once

/* argv as it was given to main(): "rbdvol-device WHAT MAPPING", where the words of host/device.h fit. */
void label_init(char **argv);

/* What we do is to be seen from outside, also when we hang in the kernel, or the daemon that told us to is
 * gone: in our argv. mapping: NULL, for none. */
void label_set(const char *what, const char *mapping);
