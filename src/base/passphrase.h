/* SPDX-License-Identifier: MIT */
/* The passphrase of an encrypted volume, out of a file that root alone can read. */
#pragma once

#include <stddef.h>

#include "base/error.h"

#define PASSPHRASE_MAX 512 /* bytes, as cryptsetup has it */

struct passphrase {
    char bytes[PASSPHRASE_MAX];
    size_t len; /* 0: none */
};
#define auto_passphrase CLEANUP(passphrase_done)

/* Reads it: the whole file, but for one line end after it. -ENOKEY: there is no such file on this host.
 * -EPERM: the file, or its directory, belongs to another user, or others may read (or write) it. -EINVAL: it
 * is empty, or too long. Never a word of its content in err. */
int passphrase_read(const char *path, struct passphrase *ret, struct error *err);

/* Wipes it. */
void passphrase_done(struct passphrase *p);
