/* SPDX-License-Identifier: MIT */
/* The blocklist, and pings of owners. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ceph/blocklist.h"
#include "ceph/ping.h"
#include "fakes/calls.h"
#include "fakes/world.h"

#define FENCES 16

static char fenced[FENCES][80]; /* the world's lock guards it */

void fake_fences_reset(void)
{
    memset(fenced, 0, sizeof fenced);
}

static bool has(const char *address)
{
    for (size_t i = 0; i < FENCES; i++)
        if (strcmp(fenced[i], address) == 0)
            return true;
    return false;
}

bool fake_is_fenced(const char *address)
{
    fake_lock();
    bool is = has(address);
    fake_unlock();
    return is;
}

bool blocklist_address_ok(const char *address)
{
    return strchr(address, '/') != NULL;
}

int blocklist_add(const struct place *p, const char *address, moment deadline, struct error *err)
{
    (void)p;
    (void)deadline;
    int rc = fake_call("blocklist_add", address, err);
    if (rc < 0)
        return rc;
    fake_lock();
    for (size_t i = 0; i < FENCES && !has(address); i++)
        if (fenced[i][0] == '\0')
            (void)snprintf(fenced[i], sizeof fenced[i], "%s", address);
    fake_unlock();
    fake_watches_end(address); /* the OSDs drop them with the map */
    fake_changed("fence %s", address);
    return fake_call_end("blocklist_add", address, err);
}

int blocklist_permitted(rados_t rados, struct error *err)
{
    (void)rados;
    return fake_call("blocklist_permitted", "", err);
}

static int ping(const struct place *p, const char *id, const struct lock_holder *owner, struct error *err)
{
    int rc = fake_call("ping", owner->address, err);
    if (rc < 0)
        return rc;
    fake_lock();
    const struct fake_image *image = fake_image_by_id(p, id);
    if (image && image->slow)
        rc = error_set(err, -EAGAIN, "the cluster is slow");
    for (size_t i = 0; image && rc == 0 && i < 2; i++)
        if (strcmp(image->watchers[i], owner->address) == 0)
            rc = !image->deaf;
    fake_unlock();
    return rc;
}

int ping_owner(const struct place *p, const char *id, const struct lock_holder *owner, unsigned seconds,
               struct error *err)
{
    (void)seconds;
    int rc = ping(p, id, owner, err);
    return rc == -EAGAIN ? 0 : rc;
}

int ping_silence(const struct place *p, const char *id, const struct lock_holder *owner, int64_t silence_ms,
                 struct error *err)
{
    (void)silence_ms;
    return ping(p, id, owner, err);
}
