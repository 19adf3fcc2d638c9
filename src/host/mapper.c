/* SPDX-License-Identifier: MIT */
#include "host/mapper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/krbd.h"

/* In order of preference. */
static const struct {
    const char *name;
    const struct mapper *mapper;
} known[] = {
    { "krbd", &mapper_krbd },
    { "nbd", &mapper_nbd },
    { "fuse", &mapper_fuse },
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int probe(size_t i, const struct mapper_image *image, struct error *err)
{
    const char *why_not = !image                               ? NULL
                          : strcmp(known[i].name, "krbd") == 0 ? image->not_krbd
                          : strcmp(known[i].name, "nbd") == 0  ? image->not_nbd
                                                               : NULL;
    return why_not ? error_set(err, -EOPNOTSUPP, "%s", why_not) : known[i].mapper->probe(image, err);
}

/* The same for `auto`, which may pass over what can be asked for by name. */
static int probe_auto(size_t i, const struct mapper_wish *wish, const struct mapper_image *image,
                      struct error *err)
{
    if (wish->fails_by_itself && !known[i].mapper->fail)
        return error_set(err, -EOPNOTSUPP,
                         "it cannot fail stuck I/O before the cluster answers (io-stuck-action=error)");
    return probe(i, image, err);
}

static int choose_auto(const struct mapper_wish *wish, const struct mapper_image *image,
                       const struct mapper **ret, char *why, size_t size, struct error *err)
{
    char reasons[sizeof err->msg] = "";
    size_t at = 0;
    for (size_t i = 0; i < COUNT(known); i++) {
        struct error reason = { 0 };
        if (probe_auto(i, wish, image, &reason) == 0) {
            (void)snprintf(why, size, "%s%s", at ? "not " : "the first choice", reasons);
            *ret = known[i].mapper;
            return 0;
        }
        int n = snprintf(reasons + at, sizeof reasons - at, "%s%s: %s", at ? "; " : "", known[i].name,
                         reason.msg);
        if (n > 0)
            at = at + (size_t)n < sizeof reasons ? at + (size_t)n : sizeof reasons - 1;
    }
    return error_set(err, -ENODEV, "no mapper can be used here: %s", reasons);
}

int mapper_choose(const struct mapper_wish *wish, const struct mapper_image *image, const struct mapper **ret,
                  char *why, size_t size, struct error *err)
{
    const char *name = wish->name;
    struct error reason;
    if (strcmp(name, "auto") == 0)
        return choose_auto(wish, image, ret, why, size, err);
    for (size_t i = 0; i < COUNT(known); i++) {
        if (strcmp(known[i].name, name) != 0)
            continue;
        if (probe(i, image, &reason) < 0)
            return error_set(err, -ENODEV, "mapper=%s cannot be used here: %s", name, reason.msg);
        (void)snprintf(why, size, "asked for by name");
        *ret = known[i].mapper;
        return 0;
    }
    return error_set(err, -ENODEV, "there is no mapper '%s': auto, krbd, nbd, fuse", name);
}

int mapper_check_options(const char *words, struct error *err)
{
    char word[128];
    for (size_t len; *words; words += len + (words[len] != '\0')) {
        len = strcspn(words, ",");
        (void)snprintf(word, sizeof word, "%.*s", (int)len, words);
        if (len >= sizeof word || !krbd_takes_option(word))
            return error_set(err, -EINVAL,
                             "map-options: '%.60s' is no option of krbd, or one that rbdvol does not allow",
                             word);
    }
    return 0;
}

const struct mapper *mapper_named(const char *name)
{
    for (size_t i = 0; i < COUNT(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].mapper;
    return NULL;
}

int mapper_find(const struct mapper_host *host, bool (*found)(void *arg, const struct mapping *m), void *arg,
                struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < COUNT(known); i++) {
        struct error one;
        int n = known[i].mapper->find(host, found, arg, &one);
        if (n < 0 && rc == 0) { /* the others are looked for all the same */
            *err = one;
            rc = n;
        }
    }
    return rc;
}

bool mapper_alive(const struct mapper_host *host, const char *id)
{
    for (size_t i = 0; i < COUNT(known); i++)
        if (known[i].mapper->alive(host, id))
            return true;
    return false;
}
