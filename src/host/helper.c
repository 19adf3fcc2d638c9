/* SPDX-License-Identifier: MIT */
#include "host/helper.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void helper_path(char *buf, size_t size)
{
    static const char *const near[] = { "rbdvol-device", "../device/rbdvol-device" };
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
        for (size_t i = 0; i < sizeof near / sizeof *near; i++)
            if (snprintf(buf, size, "%s/%s", self, near[i]) < (int)size && access(buf, X_OK) == 0)
                return;
    }
    (void)snprintf(buf, size, "%s/rbdvol-device", RBDVOL_LIBEXECDIR);
}
