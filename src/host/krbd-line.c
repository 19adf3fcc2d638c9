/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "host/krbd.h"

bool krbd_takes_option(const char *word)
{
    /* Of drivers/block/rbd.c and net/ceph/ceph_common.c. Not: osd_request_timeout (a write that timed out is
     * not cancelled), share, lock_on_read, lock_timeout, mount_timeout and all that names the image or us. */
    static const char *const names[] = {
        "abort_on_full", "alloc_size",   "compression_hint", "crush_location",    "crc",
        "ms_mode",       "nocrc",        "noshare",          "notcp_nodelay",     "notrim",
        "osd_idle_ttl",  "osdkeepalive", "queue_depth",      "read_from_replica", "rxbounce",
        "tcp_nodelay",
    };
    size_t len = strcspn(word, "=");
    for (const char *c = word; *c; c++)
        if (isspace((unsigned char)*c) || *c == ',')
            return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == len && strncmp(names[i], word, len) == 0)
            return true;
    return false;
}

struct text {
    char *buf;
    size_t at, size;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->buf + t->at, t->size - t->at, fmt, ap);
    va_end(ap);
    t->at = n < 0 || t->at + (size_t)n >= t->size ? t->size - 1 : t->at + (size_t)n;
}

/* The words of map-options that are krbd's; the others are another mapper's, and were looked at on start.
 * *ms_mode: one of them chooses the protocol's mode. */
static void add_own(struct text *t, const char *options, bool *ms_mode)
{
    char word[128];
    for (size_t len; *options; options += len + (options[len] != '\0')) {
        len = strcspn(options, ",");
        (void)snprintf(word, sizeof word, "%.*s", (int)len, options);
        if (len >= sizeof word || !krbd_takes_option(word) || strcmp(word, "noshare") == 0)
            continue;
        if (strncmp(word, "ms_mode=", 8) == 0)
            *ms_mode = true;
        add(t, ",%s", word);
    }
}

/* A user's name stands among words that are separated by commas and blanks. */
static bool is_plain(const char *text)
{
    return *text && strcspn(text, ", \t\n=") == strlen(text);
}

int krbd_line_make(const struct krbd_line *l, char buf[static KRBD_LINE_MAX], struct error *err)
{
    const struct mapper_cluster *c = l->image->cluster;
    const struct image_name *name = l->image->name;
    const char *monitors = l->protocol == KRBD_V2 ? c->v2 : c->v1;
    struct text t = { buf, 0, KRBD_LINE_MAX };
    bool ms_mode = false;
    if (!is_plain(l->user) || !text_is_name(name->pool) || !text_is_name(name->image) ||
        (name->ns[0] && !text_is_name(name->ns)))
        return error_set(err, -EINVAL, "krbd cannot be told of user '%s' and image '%s'", l->user,
                         name->image);
    if (!*monitors)
        return error_set(err, -EPROTONOSUPPORT, "not all monitors have an address of the messenger's %s",
                         l->protocol == KRBD_V2 ? "version 2" : "version 1");
    add(&t, "%s name=%s", monitors, l->user);
    if (c->key_len)
        add(&t, ",key=client.%s", l->user);
    /* A client of its own: fencing this volume must not hit another. The lock in exclusive mode: it is never
     * handed over. */
    add(&t, ",noshare,mount_timeout=%d", l->mount_timeout);
    if (l->image->ro)
        add(&t, ",ro");
    else
        add(&t, ",exclusive,lock_timeout=%d", l->lock_timeout);
    if (name->ns[0])
        add(&t, ",_pool_ns=%s", name->ns);
    add_own(&t, l->map_options, &ms_mode);
    if (l->protocol == KRBD_V2 && !ms_mode)
        add(&t, ",ms_mode=prefer-crc");
    add(&t, " %s %s -", name->pool, name->image);
    return t.at >= KRBD_LINE_MAX - 1
               ? error_set(err, -EINVAL, "the line for krbd is too long: it has room for one page")
               : 0;
}
