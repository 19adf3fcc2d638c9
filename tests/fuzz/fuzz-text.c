/* SPDX-License-Identifier: MIT */
/* The input is a text that somebody wrote for a size, a duration, a number, a mode or a name. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "fuzz.h"

/* What is shown of a size is read as that size again. */
static void check_size(uint64_t size)
{
    char shown[32];
    uint64_t again;
    if (size == 0 || size > INT64_MAX)
        abort();
    (void)text_size(size, shown);
    char *blank = strchr(shown, ' ');
    if (!blank)
        abort();
    *blank = '\0'; /* "20 GiB": 20G; "17 B": a bare 17 */
    if (blank[1] != 'B') {
        blank[0] = blank[1];
        blank[1] = '\0';
    }
    if (text_parse_size(shown, 1, &again) < 0 || again != size)
        abort();
}

/* It stays as it is when it is done once more, is no longer, and is nothing for a terminal to act upon. */
static void check_printable(const char *text)
{
    auto_free char *once = strdup(text), *twice = NULL;
    if (!once)
        return;
    text_printable(once);
    if (strlen(once) > strlen(text))
        abort();
    for (const char *c = once; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            abort();
    twice = strdup(once);
    if (!twice)
        return;
    text_printable(twice);
    if (strcmp(once, twice) != 0)
        abort();
}

static void check_name(const char *text)
{
    size_t n = strlen(text);
    if (n == 0 || n > 128 || strpbrk(text, "/ \n\t\033\\@:,") || text[0] == '.' || text[0] == '-')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t bytes;
    int64_t ms;
    uint32_t n;
    auto_free char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (text_parse_size(text, 0, &bytes) == 0 || text_parse_size(text, 1, &bytes) == 0)
        check_size(bytes);
    if (text_parse_size(text, 1 << 20, &bytes) == 0)
        check_size(bytes);
    if ((text_parse_duration(text, &ms) == 0 && ms < 0) ||
        (text_parse_u32(text, 1000, &n) == 0 && n > 1000) || (text_parse_mode(text, &n) == 0 && n > 07777))
        abort();
    if (text_is_name(text))
        check_name(text);
    check_printable(text);
    return 0;
}
