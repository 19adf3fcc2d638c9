/* SPDX-License-Identifier: MIT */
#pragma once

/* One write to the kernel's rbd driver, which may hang; our argv names the mapping meanwhile. key_name: NULL,
 * or the key comes as one packet on `channel`, and is in this process' keyring for as long. Returns 0, the
 * write's errno, or KRBD_EXIT_KEY (host/krbd.h). */
int krbd_do(const char *mapping, const char *file, const char *text, const char *key_name, int channel);
