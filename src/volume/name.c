/* SPDX-License-Identifier: MIT */
#include "volume/name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define OURS     "rbdvol."
#define MIB      (1ULL << 20)
#define TEXT_MAX (3 * (NAME_PART_MAX + 1) + 32)

bool name_is_listable(const char *image)
{
    return text_is_name(image) && strncmp(image, OURS, strlen(OURS)) != 0;
}

bool name_is_anonymous(const char *image)
{
    return text_is_hex(image, 64);
}

static int refuse(struct error *err, const char *text, const char *why)
{
    return error_set(err, -EINVAL, "volume name '%.100s%s' %s; names are [POOL/[NAMESPACE/]]IMAGE[@SIZE]",
                     text, strlen(text) > 100 ? "..." : "", why);
}

/* Copies a part and checks it. */
static const char *part_rule(const char *from, size_t n, char to[static NAME_PART_MAX + 1])
{
    if (n == 0)
        return "has an empty part";
    if (n > NAME_PART_MAX)
        return "has a part of more than 128 characters";
    memcpy(to, from, n);
    to[n] = '\0';
    if (!text_is_name(to))
        return "breaks a rule: each part begins with a letter or digit and goes on with letters, digits, "
               "'_', '.' and '-'";
    return NULL;
}

int name_parse(const struct settings *settings, const char *text, struct volume_name *ret, struct error *err)
{
    struct volume_name name = { 0 };
    char copy[TEXT_MAX];
    const char *parts[3], *why;
    unsigned n = 0;
    if (text[0] == '\0')
        return error_set(err, -EINVAL, "the volume name is empty");
    if (strlen(text) >= sizeof copy)
        return refuse(err, text, "is too long");
    memcpy(copy, text, strlen(text) + 1);
    char *at = strchr(copy, '@');
    if (at) {
        *at = '\0';
        if (text_parse_size(at + 1, MIB, &name.size) < 0)
            return refuse(err, text, "has a bad size behind '@': a number (MiB) or one with K, M, G or T");
    }
    for (char *p = copy;;) {
        if (n == 3)
            return refuse(err, text, "has more than three parts");
        parts[n++] = p;
        char *slash = strchr(p, '/');
        if (!slash)
            break;
        *slash = '\0';
        p = slash + 1;
    }
    struct image_name *i = &name.image;
    (void)snprintf(i->ns, sizeof i->ns, "%s", settings->ns);
    why = part_rule(parts[n - 1], strlen(parts[n - 1]), i->image);
    if (!why && n > 1)
        why = part_rule(parts[0], strlen(parts[0]), i->pool);
    if (!why && n > 2)
        why = part_rule(parts[1], strlen(parts[1]), i->ns);
    if (!why && strncmp(i->image, OURS, strlen(OURS)) == 0)
        why = "begins with 'rbdvol.', which is rbdvol's own";
    if (why)
        return refuse(err, text, why);
    *ret = name;
    return 0;
}
