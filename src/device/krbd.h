/* SPDX-License-Identifier: MIT */
#pragma once

/* One write to the kernel's rbd driver, which may hang: MAPPING FILE TEXT [KEY-NAME]. With a name, the key
 * that comes on descriptor 3 is put into this process' keyring first. Returns the exit status (host/krbd.h).
 */
int krbd_main(char *const *argv);
