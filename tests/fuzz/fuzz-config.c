/* SPDX-License-Identifier: MIT */
/* The input is a configuration file. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "main/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char flag[64];
    const char *const argv[] = { flag }, *const environment[] = { NULL };
    struct config c;
    struct error err;
    auto_close int fd = memfd_create("rbdvol.conf", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    (void)snprintf(flag, sizeof flag, "--config=/proc/self/fd/%d", fd);
    int rc = config_load(1, argv, environment, &c, &err);
    if (rc < 0)
        return 0;
    /* what was taken is usable */
    if (c.settings.npools < 1 || c.settings.npools > POOLS_MAX || c.settings.mount_root[0] != '/' ||
        c.settings.budget_ms < 1000 || (c.settings.max_size && c.settings.size > c.settings.max_size))
        abort();
    config_free(&c);
    return 0;
}
