/* SPDX-License-Identifier: MIT */
#include "host/mapper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* In order of preference. NULL: a name that is promised, and not in this version. */
static const struct {
    const char *name;
    const struct mapper *mapper;
} known[] = {
    { "krbd", NULL },
    { "nbd", NULL },
    { "fuse", &mapper_fuse },
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int choose_auto(const struct mapper **ret, char *why, size_t size, struct error *err)
{
    struct error reason = { 0 };
    for (size_t i = 0; i < COUNT(known); i++)
        if (known[i].mapper && known[i].mapper->probe(&reason) == 0) {
            (void)snprintf(why, size, "krbd and nbd are not in this version yet");
            *ret = known[i].mapper;
            return 0;
        }
    return error_set(err, -ENODEV,
                     "no mapper can be used here: %s (krbd and nbd are not in this version yet)", reason.msg);
}

int mapper_choose(const char *name, const struct mapper **ret, char *why, size_t size, struct error *err)
{
    struct error reason;
    if (strcmp(name, "auto") == 0)
        return choose_auto(ret, why, size, err);
    for (size_t i = 0; i < COUNT(known); i++) {
        if (strcmp(known[i].name, name) != 0)
            continue;
        if (!known[i].mapper)
            return error_set(err, -ENODEV, "mapper=%s is not in this version yet; use mapper=fuse or auto",
                             name);
        if (known[i].mapper->probe(&reason) < 0)
            return error_set(err, -ENODEV, "mapper=%s cannot be used here: %s", name, reason.msg);
        (void)snprintf(why, size, "asked for by name");
        *ret = known[i].mapper;
        return 0;
    }
    return error_set(err, -ENODEV, "there is no mapper '%s': auto, krbd, nbd, fuse", name);
}
