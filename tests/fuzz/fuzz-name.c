/* SPDX-License-Identifier: MIT */
/* The input is a volume's name, as a client sends it. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "fuzz.h"
#include "volume/name.h"

static bool same(const struct image_name *a, const struct image_name *b)
{
    return strcmp(a->pool, b->pool) == 0 && strcmp(a->ns, b->ns) == 0 && strcmp(a->image, b->image) == 0;
}

/* Nothing but a name that is safe in a path, and that means the same when it is written in full. */
static void check(const struct settings *s, const struct volume_name *n)
{
    struct volume_name again;
    struct error err;
    char full[IMAGE_NAME_MAX + 1];
    const struct image_name *i = &n->image;
    if (!text_is_name(i->image) || !name_is_listable(i->image) || (i->pool[0] && !text_is_name(i->pool)) ||
        (i->ns[0] && !text_is_name(i->ns)) || (i->ns[0] && !i->pool[0] && strcmp(i->ns, s->ns) != 0) ||
        n->size > INT64_MAX)
        abort();
    if (i->pool[0] && (name_parse(s, image_name_full(i, full), &again, &err) < 0 || !same(i, &again.image)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char none[] = "";
    const struct settings s = { .ns = none };
    struct volume_name n;
    struct error err = { 0 };
    auto_free char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (name_parse(&s, text, &n, &err) == 0) {
        check(&s, &n);
        return 0;
    }
    char tidy[sizeof err.msg];
    memcpy(tidy, err.msg, sizeof tidy);
    text_printable(tidy);
    if (err.msg[0] == '\0' || strcmp(tidy, err.msg) != 0)
        abort();
    return 0;
}
