/* SPDX-License-Identifier: MIT */
#include "ceph/pending.h"

#include <stdio.h>
#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"

#define KEYS 8

static struct {
    char key[PENDING_KEY_MAX + 1]; /* "": free */
    time_t since;
} all[KEYS]; /* the world's lock guards it */

void fake_pending_reset(void)
{
    memset(all, 0, sizeof all);
}

size_t fake_pending_count(void)
{
    size_t n = 0;
    fake_lock();
    for (size_t i = 0; i < KEYS; i++)
        n += all[i].key[0] != '\0';
    fake_unlock();
    return n;
}

void fake_pending_age(time_t seconds)
{
    fake_lock();
    for (size_t i = 0; i < KEYS; i++)
        all[i].since -= seconds;
    fake_unlock();
}

int pending_add(const struct place *p, const char *key, struct error *err)
{
    (void)p;
    int rc = fake_call("pending_add", "", err);
    if (rc < 0)
        return rc;
    fake_lock();
    for (size_t i = 0; i < KEYS; i++)
        if (!all[i].key[0]) {
            (void)snprintf(all[i].key, sizeof all[i].key, "%s", key);
            all[i].since = time(NULL);
            break;
        }
    fake_unlock();
    return fake_call_end("pending_add", "", err);
}

int pending_remove(const struct place *p, const char *key, struct error *err)
{
    (void)p;
    int rc = fake_call("pending_remove", "", err);
    fake_lock();
    for (size_t i = 0; rc == 0 && i < KEYS; i++)
        if (strcmp(all[i].key, key) == 0)
            all[i].key[0] = '\0';
    fake_unlock();
    return rc;
}

int pending_each(const struct place *p, void (*visit)(void *arg, const char *key, time_t since), void *arg,
                 struct error *err)
{
    (void)p;
    int rc = fake_call("pending_each", "", err);
    fake_lock();
    for (size_t i = 0; rc == 0 && i < KEYS; i++)
        if (all[i].key[0])
            visit(arg, all[i].key, all[i].since);
    fake_unlock();
    return rc;
}
