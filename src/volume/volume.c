/* SPDX-License-Identifier: MIT */
#include "volume/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "volume/mapping.h"

struct volume *volume_new(const struct image_name *name)
{
    struct volume *v = calloc(1, sizeof *v);
    if (!v)
        abort();
    v->name = *name;
    v->mapping.control = -1;
    pthread_mutex_init(&v->lock, NULL);
    clock_cond_init(&v->changed);
    return v;
}

void volume_free(struct volume *v)
{
    device_end(v->device);
    mapping_drop_early(v);
    if (v->mapping.control >= 0)
        (void)close(v->mapping.control);
    holders_done(&v->holders);
    free(v->saved);
    spec_done(&v->spec);
    pthread_cond_destroy(&v->changed);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

const char *volume_doing(const struct volume *v, char *buf, size_t size)
{
    char span[32];
    clock_span(clock_since_ms(v->busy_since), span, sizeof span);
    (void)snprintf(buf, size, "%s it for %s", v->busy ? v->busy : "working on", span);
    return buf;
}

int volume_gate_enter(struct volume *v, const char *what, moment deadline, struct error *err)
{
    struct timespec until = clock_spec(deadline);
    LOCK_SCOPE(&v->lock);
    while (v->busy && pthread_cond_timedwait(&v->changed, &v->lock, &until) == 0)
        ;
    if (v->busy) {
        char doing[80];
        return error_set(err, -EBUSY, "rbdvol is %s; try again", volume_doing(v, doing, sizeof doing));
    }
    v->busy = what;
    v->busy_since = clock_now();
    return 0;
}

void volume_gate_leave(struct volume *v)
{
    LOCK_SCOPE(&v->lock);
    v->busy = NULL;
    pthread_cond_broadcast(&v->changed);
}

void volume_says(struct volume *v, const char *what)
{
    LOCK_SCOPE(&v->lock);
    if (v->busy != what)
        v->busy_since = clock_now();
    v->busy = what;
}

const char *volume_state(const struct volume *v)
{
    static const char *const names[] = {
        [RUNG_DETACHED] = "detached", [RUNG_CLAIMED] = "claimed", [RUNG_MAPPED] = "mapped",
        [RUNG_CHECKED] = "checked",   [RUNG_MOUNTED] = "mounted",
    };
    if (v->lost)
        return "lost";
    return v->busy ? v->busy : names[v->rung];
}
