/* SPDX-License-Identifier: MIT */
#include "ceph/monmap.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define FRESH_MS      600000
#define ADDRESSES_MAX 3000 /* bytes: about a hundred monitors */

/* The address of this kind ("v2") of a monitor; NULL: it has none. */
static const char *address_of(const json_t *mon, const char *kind)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(json_object_get(mon, "public_addrs"), "addrvec"), i, one)
    {
        const char *type = json_string_value(json_object_get(one, "type"));
        if (type && strcmp(type, kind) == 0)
            return json_string_value(json_object_get(one, "addr"));
    }
    return NULL;
}

/* Nothing but what an address is made of: it becomes a part of a line whose words are separated. */
static bool is_address(const char *text)
{
    return text && *text && strspn(text, "0123456789abcdefABCDEF.:[]%") == strlen(text);
}

/* All of them, joined by commas. NULL: one has none of this kind. */
static char *addresses(const json_t *mons, const char *kind)
{
    char text[ADDRESSES_MAX] = "";
    size_t i, at = 0;
    json_t *mon;
    json_array_foreach(mons, i, mon)
    {
        const char *address = address_of(mon, kind);
        if (!is_address(address) || at + strlen(address) + 2 > sizeof text)
            return NULL;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at ? "," : "", address);
    }
    return at ? strdup(text) : NULL;
}

int monmap_parse(const char *json, size_t len, struct monmap *ret, struct error *err)
{
    json_auto_t *j = json_loadb(json, len, 0, NULL);
    const char *fsid = json_string_value(json_object_get(j, "fsid"));
    const json_t *mons = json_object_get(j, "mons");
    if (!fsid || strlen(fsid) >= sizeof ret->fsid || json_array_size(mons) == 0)
        return error_set(err, -EPROTO, "the monitors' answer to `mon dump` is not as expected");
    struct monmap m = { .v2 = addresses(mons, "v2"), .v1 = addresses(mons, "v1") };
    (void)snprintf(m.fsid, sizeof m.fsid, "%s", fsid);
    *ret = m;
    return 0;
}

/* The last answer. */
static struct {
    pthread_mutex_t lock;            /* a leaf */
    const struct cluster_link *link; /* that it came over, which may be gone: only compared; NULL: none */
    moment at;
    struct monmap map;
} last = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct monmap copy_of(const struct monmap *m)
{
    struct monmap copy = { .v2 = m->v2 ? strdup(m->v2) : NULL, .v1 = m->v1 ? strdup(m->v1) : NULL };
    memcpy(copy.fsid, m->fsid, sizeof copy.fsid);
    return copy;
}

void monmap_forget(void)
{
    LOCK_SCOPE(&last.lock);
    monmap_done(&last.map);
    last.link = NULL;
}

static void remember(const struct place *p, const struct monmap *m)
{
    LOCK_SCOPE(&last.lock);
    monmap_done(&last.map);
    last.map = copy_of(m);
    last.link = p->link;
    last.at = clock_now();
}

static bool recall(const struct place *p, struct monmap *ret)
{
    LOCK_SCOPE(&last.lock);
    if (last.link != p->link || clock_since_ms(last.at) > FRESH_MS)
        return false;
    *ret = copy_of(&last.map);
    return true;
}

static int ask(const struct place *p, struct monmap *ret, struct error *err)
{
    static const char *command[] = { "{\"prefix\":\"mon dump\",\"format\":\"json\"}" };
    char *out = NULL, *status = NULL;
    size_t out_len = 0, status_len = 0;
    int rc = rados_mon_command(rados_ioctx_get_cluster(p->io), command, 1, "", 0, &out, &out_len, &status,
                               &status_len);
    rc = rc < 0 ? place_error(p, rc, err, "cannot ask for the monitors' addresses")
                : monmap_parse(out, out_len, ret, err);
    rados_buffer_free(out);
    rados_buffer_free(status);
    return rc;
}

void monmap_done(struct monmap *m)
{
    free(m->v2);
    free(m->v1);
    *m = (struct monmap){ 0 };
}

int monmap_read(const struct place *p, struct monmap *ret, struct error *err)
{
    if (recall(p, ret))
        return 0;
    int rc = ask(p, ret, err);
    if (rc == 0)
        remember(p, ret);
    return rc;
}

int64_t monmap_pool_id(const struct place *p)
{
    return rados_ioctx_get_id(p->io);
}
