/* SPDX-License-Identifier: MIT */
/* Ceph's encoding of a string: its length as le32, its bytes. */
#pragma once

#include <stddef.h>

/* 0, or -EUCLEAN: it is cut off, or does not fit into ret, which gets its NUL. */
int encoding_decode(const char *data, size_t len, char *ret, size_t size);

/* Writes strlen(text) + 4 bytes, and returns how many. */
size_t encoding_encode(char *to, const char *text);
