/* SPDX-License-Identifier: MIT */
/* What the process has to be before its first thread starts. */
#pragma once

#include <rados/librados.h>
#include <stddef.h>

#include "base/error.h"

/* Signals, memory, core dumps, descriptors. What is refused for want of a capability goes into `warning` (""
 * if nothing was) and is not an error. */
void setup_process(char *warning, size_t size);

/* Reads the keyring that `rados` is going to want, while we still may, into memory, and points it there. *ret
 * is that memory: close it after connecting; from holds the path that it was read from. A keyring that is not
 * found is left to the connecting, which explains: *ret is -1, from is empty. */
int setup_keyring(rados_t rados, int *ret, char *from, size_t size, struct error *err);

/* Makes the kernel close /dev/fuse before it lets go of our mount namespace, however we end. We may be the
 * last process of it (a container's, all of which is killed): what is mounted there goes down in our own exit
 * then, and waits for answers from us, for ever, unless the connection is gone. Takes fuse, and returns the
 * descriptor to be used from now on. */
int setup_fuse_ends_first(int fuse);

/* Gives all capabilities away for good. */
int setup_drop(struct error *err);

/* After the start: lets go of the pages that only the start needed. */
void setup_trim(void);
