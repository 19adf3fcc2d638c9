/* SPDX-License-Identifier: MIT */
/* Small files: read whole, replaced as a whole. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Reads a file of at most max bytes into a fresh NUL-terminated buffer (*ret, the caller frees; *len without
 * the NUL, may be NULL). -ENOENT: no such file; -EFBIG: larger; else the errno of open or read. */
int file_read(const char *path, size_t max, char **ret, size_t *len, struct error *err);

/* The same for a file that we have written ourselves: nothing is followed, and nothing waited for. -ELOOP and
 * -EINVAL: something else was put there. */
int file_read_own(const char *path, size_t max, char **ret, size_t *len, struct error *err);

/* Does this error of a read say nothing about the file, but that it could not be read now (no descriptors, no
 * memory, the disk)? */
bool file_was_not_read(int rc);

/* Reads its first line into buf without the line end. */
int file_read_line(const char *path, char *buf, size_t size, struct error *err);

/* Writes path.tmp, syncs it, renames it over path (mode 0600): after a crash the old or the new text is
 * there, never half of one. One writer per path at a time. */
int file_replace(const char *path, const char *text, size_t len, struct error *err);

/* mkdir -p with this mode for what it makes (the umask does not count). Existing directories stay as they
 * are. */
int file_mkdirs(const char *path, unsigned mode, struct error *err);
