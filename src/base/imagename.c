/* SPDX-License-Identifier: MIT */
#include "base/imagename.h"

#include <stdio.h>

const char *image_name_full(const struct image_name *name, char buf[static IMAGE_NAME_MAX + 1])
{
    (void)snprintf(buf, IMAGE_NAME_MAX + 1, "%s%s%s/%s", name->pool, name->ns[0] ? "/" : "", name->ns,
                   name->image);
    return buf;
}

const char *image_name_place(const struct image_name *name, char buf[static IMAGE_NAME_MAX + 1])
{
    (void)snprintf(buf, IMAGE_NAME_MAX + 1, "%s%s%s", name->pool, name->ns[0] ? "+" : "", name->ns);
    return buf;
}
