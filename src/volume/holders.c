/* SPDX-License-Identifier: MIT */
#include "volume/holders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define COUNT_MAX 1000000

void holders_done(struct holders *h)
{
    free(h->all);
    *h = (struct holders){ 0 };
}

int holders_check_id(const char *id, struct error *err)
{
    size_t n = strlen(id);
    if (n > HOLDER_ID_MAX)
        return error_set(err, -EINVAL, "field ID: longer than %d characters", HOLDER_ID_MAX);
    for (size_t i = 0; i < n; i++)
        if (id[i] <= ' ' || id[i] > '~')
            return error_set(err, -EINVAL, "field ID: only printable ASCII without blanks is allowed");
    return 0;
}

struct holder *holders_find(const struct holders *h, const char *id)
{
    for (size_t i = 0; i < h->n; i++)
        if (strcmp(h->all[i].id, id) == 0)
            return &h->all[i];
    return NULL;
}

int holders_admit(const struct holders *h, const char *id, bool shared, struct error *err)
{
    char since[32];
    if (h->n == 0 || shared || holders_find(h, id))
        return 0;
    const struct holder *first = &h->all[0];
    clock_rfc3339(first->since, since, sizeof since);
    if (first->id[0] == '\0')
        return error_set(
            err, -EBUSY,
            "in use on this host since %s by a caller without a mount ID (dvdcli or Mesos); it ends with "
            "that caller's unmount, or make the volume with -o sharing=host",
            since);
    if (strcmp(first->id, HOLDER_UNKNOWN) == 0)
        return error_set(err, -EBUSY,
                         "in use on this host, found so at %s without a record of by whom; it ends with that "
                         "one's Unmount, "
                         "or by `rbdvol release`",
                         since);
    return error_set(
        err, -EBUSY,
        "in use on this host since %s by mount ID %.12s; one container at a time may have it. If both are "
        "one "
        "Compose service, set `volume: {nocopy: true}`; if they are to share it, make the volume with "
        "-o sharing=host",
        since, first->id);
}

void holders_add(struct holders *h, const char *id, pid_t peer, uint64_t peer_start, bool peer_gone)
{
    struct holder *was = holders_find(h, id);
    if (!was) {
        struct holder *more = reallocarray(h->all, h->n + 1, sizeof *more);
        if (!more)
            abort();
        h->all = more;
        was = &more[h->n++];
        *was = (struct holder){ .since = time(NULL), .begun = clock_boot_s() };
        (void)snprintf(was->id, sizeof was->id, "%s", id);
    } else if (peer_gone && id[0]) {
        was->lapsed = was->count - was->pending; /* others may be waiting under the same ID */
    }
    was->peer = peer;
    was->peer_start = peer_start;
    if (was->count < COUNT_MAX) {
        was->count++;
        was->pending++;
    }
}

void holders_add_unknown(struct holders *h)
{
    holders_add(h, HOLDER_UNKNOWN, 0, 0, false);
    holders_confirm(h, HOLDER_UNKNOWN);
}

/* Removes the holder at h when nothing is left of it. */
static void drop_if_empty(struct holders *h, struct holder *one)
{
    if (one->count > 0)
        return;
    size_t at = (size_t)(one - h->all);
    memmove(one, one + 1, (h->n - at - 1) * sizeof *one);
    h->n--;
}

bool holders_pending(const struct holders *h)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->all[i].pending)
            return true;
    return false;
}

void holders_confirm(struct holders *h, const char *id)
{
    struct holder *one = holders_find(h, id);
    if (one && one->pending)
        one->pending--;
}

void holders_retract(struct holders *h, const char *id)
{
    struct holder *one = holders_find(h, id);
    if (!one || !one->pending)
        return;
    one->pending--;
    one->count--;
    drop_if_empty(h, one);
}

void holders_retract_all(struct holders *h)
{
    for (size_t i = h->n; i-- > 0;) {
        h->all[i].count -= h->all[i].pending;
        h->all[i].pending = 0;
        drop_if_empty(h, &h->all[i]);
    }
}

static void lower_count(struct holder *one, unsigned count)
{
    one->count = count;
    if (one->pending > count)
        one->pending = count;
    if (one->lapsed > count - one->pending)
        one->lapsed = count - one->pending;
}

bool holders_delivered(struct holders *h, const char *id)
{
    struct holder *one = holders_find(h, id);
    if (!one || !one->lapsed)
        return false;
    lower_count(one, one->count - one->lapsed);
    one->lapsed = 0;
    return true;
}

void holders_undelivered(struct holders *h, const char *id)
{
    struct holder *one = holders_find(h, id);
    if (!one)
        return;
    lower_count(one, one->count - 1);
    drop_if_empty(h, one);
}

bool holders_release(struct holders *h, const char *id)
{
    struct holder *one = holders_find(h, id);
    if (!one)
        return false;
    lower_count(one, id[0] == '\0' && one->count > one->pending ? one->pending : one->count - 1);
    drop_if_empty(h, one);
    return true;
}

json_t *holders_json(const struct holders *h, bool for_state)
{
    json_t *list = json_array();
    for (size_t i = 0; i < h->n; i++) {
        const struct holder *one = &h->all[i];
        char since[32];
        clock_rfc3339(one->since, since, sizeof since);
        json_t *j =
            json_pack("{s:s, s:I, s:s}", "ID", one->id, "Count", (json_int_t)one->count, "Since", since);
        if (for_state) {
            json_object_set_new(j, "SinceUnix", json_integer((json_int_t)one->since));
            json_object_set_new(j, "SinceBoot", json_integer((json_int_t)one->begun));
            json_object_set_new(j, "Pending", json_integer(one->pending));
            json_object_set_new(j, "Peer", json_integer(one->peer));
            json_object_set_new(j, "PeerStart", json_integer((json_int_t)one->peer_start));
        }
        json_array_append_new(list, j);
    }
    return list;
}

void holders_load(struct holders *h, const json_t *list)
{
    size_t i;
    json_t *j;
    struct error ignored;
    json_array_foreach((json_t *)(uintptr_t)list, i, j)
    {
        const char *id = json_string_value(json_object_get(j, "ID"));
        json_int_t count = json_integer_value(json_object_get(j, "Count"));
        json_int_t pending = json_integer_value(json_object_get(j, "Pending"));
        if (!id || holders_check_id(id, &ignored) < 0 || holders_find(h, id) || count > COUNT_MAX ||
            pending < 0 || count <= pending)
            continue;
        holders_add(h, id, (pid_t)json_integer_value(json_object_get(j, "Peer")),
                    (uint64_t)json_integer_value(json_object_get(j, "PeerStart")), false);
        struct holder *one = &h->all[h->n - 1];
        one->count = (unsigned)(count - pending);
        one->pending = 0;
        one->since = (time_t)json_integer_value(json_object_get(j, "SinceUnix"));
        const json_t *begun = json_object_get(j, "SinceBoot");
        if (json_is_integer(begun)) /* earlier versions did not write it: then from now on */
            one->begun = (int64_t)json_integer_value(begun);
    }
}
