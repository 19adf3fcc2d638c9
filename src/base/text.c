/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/imagename.h"

/* Reads leading digits; *rest points behind them. At least one digit, no overflow of max. */
static int digits(const char *text, unsigned base, uint64_t max, uint64_t *ret, const char **rest)
{
    uint64_t n = 0;
    const char *p = text;
    for (; *p >= '0' && *p < (char)('0' + (int)base); p++) {
        unsigned d = (unsigned)(*p - '0');
        if (d > max || n > (max - d) / base)
            return -EINVAL;
        n = n * base + d;
    }
    if (p == text)
        return -EINVAL;
    *ret = n;
    *rest = p;
    return 0;
}

int text_parse_size(const char *text, uint64_t bare_unit, uint64_t *ret)
{
    static const char units[] = "KMGT";
    uint64_t n, unit = bare_unit;
    const char *rest;
    if (digits(text, 10, INT64_MAX, &n, &rest) < 0)
        return -EINVAL;
    if (*rest) {
        char upper = (char)(*rest >= 'a' && *rest <= 'z' ? *rest - 'a' + 'A' : *rest);
        const char *u = strchr(units, upper);
        if (!u || rest[1])
            return -EINVAL;
        unit = 1ULL << (10 * (u - units + 1));
    }
    if (n == 0 || unit == 0 || n > (uint64_t)INT64_MAX / unit)
        return -EINVAL;
    *ret = n * unit;
    return 0;
}

int text_parse_duration(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
    uint64_t n;
    const char *rest;
    if (digits(text, 10, INT64_MAX, &n, &rest) < 0)
        return -EINVAL;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(rest, units[i].name) == 0) {
            if (n > (uint64_t)INT64_MAX / 1000000 / units[i].ms) /* must fit in nanoseconds, too */
                return -EINVAL;
            *ret_ms = (int64_t)(n * units[i].ms);
            return 0;
        }
    return -EINVAL;
}

int text_parse_u32(const char *text, uint32_t max, uint32_t *ret)
{
    uint64_t n;
    const char *rest;
    if (digits(text, 10, max, &n, &rest) < 0 || *rest)
        return -EINVAL;
    *ret = (uint32_t)n;
    return 0;
}

int text_parse_mode(const char *text, uint32_t *ret)
{
    uint64_t n;
    const char *rest;
    if (digits(text, 8, 07777, &n, &rest) < 0 || *rest)
        return -EINVAL;
    *ret = (uint32_t)n;
    return 0;
}

static bool alnum(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool text_is_name(const char *text)
{
    if (!alnum(*text))
        return false;
    const char *p = text;
    while (alnum(*p) || *p == '_' || *p == '.' || *p == '-')
        p++;
    return *p == '\0' && p - text <= NAME_PART_MAX;
}

const char *text_size(uint64_t bytes, char buf[static 32])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    unsigned u = 0;
    while (u < 4 && bytes && bytes % 1024 == 0) {
        bytes /= 1024;
        u++;
    }
    (void)snprintf(buf, 32, "%llu %s", (unsigned long long)bytes, units[u]);
    return buf;
}

bool text_is_hex(const char *text, unsigned n)
{
    unsigned i = 0;
    while ((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f'))
        i++;
    return i == n && text[i] == '\0';
}

/* Ends a line, or turns the direction of what follows: a text with it reads other than it is. */
static bool misleads(unsigned c)
{
    return c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* The length of the UTF-8 character that begins here, 0 if none does, or if it is a control character. */
static size_t character(const unsigned char *p)
{
    static const struct {
        unsigned char mask, lead;
        unsigned min;
    } forms[] = { { 0x80, 0, 0x20 }, { 0xe0, 0xc0, 0xa0 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };
    for (size_t len = 1; len <= 4; len++) {
        if ((p[0] & forms[len - 1].mask) != forms[len - 1].lead)
            continue;
        unsigned c = p[0] & (unsigned char)~forms[len - 1].mask;
        for (size_t i = 1; i < len; i++) {
            if ((p[i] & 0xc0) != 0x80) /* the NUL is none, either */
                return 0;
            c = c << 6 | (p[i] & 0x3f);
        }
        /* overlong, C1 controls (a terminal may obey them), surrogates, beyond Unicode */
        return c < forms[len - 1].min || c == 0x7f || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff ||
                       misleads(c)
                   ? 0
                   : len;
    }
    return 0;
}

void text_printable(char *text)
{
    while (*text) {
        size_t len = character((const unsigned char *)text);
        if (len == 0) {
            *text = '?';
            len = 1;
        }
        text += len;
    }
}
