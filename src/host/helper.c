/* SPDX-License-Identifier: MIT */
#include "host/helper.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int helper_path(const char *name, char *buf, size_t size)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    const char *slash = n > 0 ? memrchr(self, '/', (size_t)n) : NULL;
    int dir = slash ? (int)(slash - self) : 0;
    if (slash && snprintf(buf, size, "%.*s/rbdvol-%s", dir, self, name) < (int)size && access(buf, X_OK) == 0)
        return 0;
    if (slash && snprintf(buf, size, "%.*s/../%s/rbdvol-%s", dir, self, name, name) < (int)size &&
        access(buf, X_OK) == 0)
        return 0;
    return snprintf(buf, size, RBDVOL_LIBEXECDIR "/rbdvol-%s", name) < (int)size ? 0 : -ENAMETOOLONG;
}
