/* SPDX-License-Identifier: MIT */
#include "host/mapper-scope.h"

#include <stdio.h>

#include "base/log.h"
#include "host/scope.h"

#define SCOPE_MS 2000 /* PID 1 answers in one or two */

void mapper_give_scope(const struct mapper_host *host, const struct mapper_image *image,
                       const struct mapping *m, pid_t pid, moment deadline)
{
    char name[128], description[IMAGE_NAME_MAX + 64], full[IMAGE_NAME_MAX + 1];
    struct error err;
    moment soon = clock_in_ms(SCOPE_MS);
    (void)snprintf(name, sizeof name, "rbdvol-%s-%s", host->instance, m->id);
    (void)snprintf(description, sizeof description, "rbdvol: mapper of %s (%s)",
                   image_name_full(&m->name, full), host->instance);
    const struct scope scope = { name, description, image->mountpoint };
    if (scope_move(&scope, pid, soon < deadline ? soon : deadline, &err) < 0)
        log_notice("mapper volume=%s pid=%d stays in this service's cgroup: %s", full, (int)pid, err.msg);
}
