/* SPDX-License-Identifier: MIT */
/* Parses and checks what people write: sizes, durations, numbers, names. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "20G", "512M", "64k", "1T": a number with a unit (K M G T, binary, either case), in bytes.
 * A bare number is multiplied by bare_unit; 0 refuses bare numbers. Zero, signs, fractions, blanks, overflow
 * past INT64_MAX: -EINVAL. */
int text_parse_size(const char *text, uint64_t bare_unit, uint64_t *ret);

/* "500ms", "5s", "2m", "1h", "7d", in milliseconds; 0s is allowed, a bare number is not. -EINVAL. */
int text_parse_duration(const char *text, int64_t *ret_ms);

/* Decimal, no sign, no blanks, at most max. -EINVAL. */
int text_parse_u32(const char *text, uint32_t max, uint32_t *ret);

/* "755", "0755", "2770": octal, at most 07777. -EINVAL. */
int text_parse_mode(const char *text, uint32_t *ret);

/* [A-Za-z0-9][A-Za-z0-9_.-]{0,127}: a pool, a namespace, an image. */
bool text_is_name(const char *text);

/* "20 GiB", "512 MiB", "100 KiB", "17 B": exact, in the largest unit that divides it. Returns buf. */
const char *text_size(uint64_t bytes, char buf[static 32]);

/* Makes a text fit for a terminal, a log line and JSON: control characters, what ends a line or turns the
 * direction of a text, and bytes that are not UTF-8, become '?' for each of their bytes. */
void text_printable(char *text);

/* Exactly n lower-case hexadecimal digits. */
bool text_is_hex(const char *text, unsigned n);
