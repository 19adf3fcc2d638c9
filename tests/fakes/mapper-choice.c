/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"
#include "host/mapper.h"

int mapper_choose(const struct mapper_wish *wish, const struct mapper_image *image, const struct mapper **ret,
                  char *why, size_t size, struct error *err)
{
    const struct mapper *used = fake_mapper_used();
    int rc = used->probe(image, err);
    if (rc < 0)
        return rc;
    *ret = used;
    (void)snprintf(why, size, "%s: the fake one", wish->name);
    return 0;
}

int mapper_check_options(const char *words, struct error *err)
{
    return fake_call("mapper_check_options", words ? words : "", err);
}

const struct mapper *mapper_named(const char *name)
{
    return strcmp(name, "fuse") == 0 ? &mapper_fuse : strcmp(name, "kernel") == 0 ? &fake_kernel : NULL;
}

int mapper_find(const struct mapper_host *host, bool (*found)(void *arg, const struct mapping *m), void *arg,
                struct error *err)
{
    return mapper_fuse.find(host, found, arg, err);
}
