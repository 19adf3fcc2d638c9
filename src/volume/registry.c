/* SPDX-License-Identifier: MIT */
#include "volume/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void registry_init(struct registry *t)
{
    pthread_mutex_init(&t->lock, NULL);
    t->first = NULL;
}

void registry_done(struct registry *t)
{
    while (t->first) {
        struct volume *v = t->first;
        t->first = v->next;
        volume_free(v);
    }
    pthread_mutex_destroy(&t->lock);
}

static bool same_name(const struct image_name *a, const struct image_name *b)
{
    return strcmp(a->image, b->image) == 0 && strcmp(a->pool, b->pool) == 0 && strcmp(a->ns, b->ns) == 0;
}

/* With the lock held. */
static struct volume *find(struct registry *t, const struct image_name *name)
{
    struct volume *v = t->first;
    while (v && !same_name(&v->name, name))
        v = v->next;
    if (v)
        v->refs++;
    return v;
}

struct volume *registry_find(struct registry *t, const struct image_name *name)
{
    LOCK_SCOPE(&t->lock);
    return find(t, name);
}

struct volume *registry_get(struct registry *t, const struct image_name *name)
{
    LOCK_SCOPE(&t->lock);
    struct volume *v = find(t, name);
    if (!v) {
        v = volume_new(name);
        v->refs = 1;
        v->next = t->first;
        t->first = v;
    }
    return v;
}

struct volume *registry_hold(struct registry *t, struct volume *v)
{
    LOCK_SCOPE(&t->lock);
    v->refs++;
    return v;
}

/* Nothing of the volume is here. Lock order: the registry's, then the volume's. */
static bool idle(struct volume *v)
{
    LOCK_SCOPE(&v->lock);
    return !v->busy && !v->driven && v->holders.n == 0 && v->rung == RUNG_DETACHED && v->retry_at == 0 &&
           v->owed.what == OWED_NOTHING;
}

void registry_release(struct registry *t, struct volume *v)
{
    {
        LOCK_SCOPE(&t->lock);
        if (--v->refs > 0 || !idle(v))
            return;
        struct volume **p = &t->first;
        while (*p != v)
            p = &(*p)->next;
        *p = v->next;
    }
    volume_free(v);
}

struct volume **registry_all(struct registry *t, size_t *n)
{
    LOCK_SCOPE(&t->lock);
    size_t count = 0;
    for (struct volume *v = t->first; v; v = v->next)
        count++;
    struct volume **all = calloc(count + 1, sizeof(struct volume *));
    if (!all)
        abort();
    *n = 0;
    for (struct volume *v = t->first; v; v = v->next) {
        v->refs++;
        all[(*n)++] = v;
    }
    return all;
}
