/* SPDX-License-Identifier: MIT */
#include "volume/statefile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

#define STATE_VERSION 1
#define STATE_MAX     (1u << 20)
#define SUFFIX        ".json"

static int path_of(const struct volumes *e, const struct image_name *name, char path[static PATH_MAX])
{
    char place[IMAGE_NAME_MAX + 1];
    int n = snprintf(path, PATH_MAX, "%s/%s+%s" SUFFIX, e->volumes_dir, image_name_place(name, place),
                     name->image);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static char *encode(const struct volumes *e, const struct volume *v)
{
    const struct volume_facts *f = &v->facts;
    json_auto_t *facts =
        json_pack("{s:I, s:I, s:I, s:s, s:s, s:b, s:s, s:s, s:s, s:b}", "size", (json_int_t)f->size,
                  "features", (json_int_t)f->features, "created", (json_int_t)f->created, "fstype", f->fstype,
                  "mount-options", f->mount_options, "shared", f->sharing == SHARING_HOST, "device",
                  f->device, "mapper", f->mapper, "remove", f->remove, "frozen", f->frozen);
    json_auto_t *j = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:O, s:o}", "version", STATE_VERSION,
                               "boot_id", e->host.boot_id, "pool", v->name.pool, "namespace", v->name.ns,
                               "image", v->name.image, "image_id", v->image_id, "mapping", v->mapping.id,
                               "facts", facts, "holders", holders_json(&v->holders, true));
    if (v->lost || v->reviving)
        json_object_set_new(j, "lost",
                            json_pack("{s:I, s:s, s:s}", "at", (json_int_t)v->loss.at, "why", v->loss.why,
                                      "now", v->loss.now));
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    if (!text)
        abort();
    return text;
}

int statefile_save(struct volumes *e, struct volume *v)
{
    char path[PATH_MAX];
    struct error err;
    int rc = path_of(e, &v->name, path);
    if (rc < 0)
        return rc;
    if (v->holders.n == 0 && v->rung == RUNG_DETACHED && v->mapping.id[0] == '\0') {
        (void)unlink(path);
        free(v->saved);
        v->saved = NULL;
        return 0;
    }
    auto_free char *text = encode(e, v);
    if (v->saved && strcmp(v->saved, text) == 0)
        return 0;
    free(v->saved);
    v->saved = NULL;
    rc = file_replace(path, text, strlen(text), &err);
    if (rc == 0)
        v->saved = steal_ptr(&text);
    if (rc < 0)
        log_warning("a restart would forget who holds the volume pool=%s image=%s: %s", v->name.pool,
                    v->name.image, err.msg);
    return rc;
}

static int take_text(const json_t *j, const char *key, char *to, size_t size)
{
    const char *text = json_string_value(json_object_get(j, key));
    if (!text || strlen(text) >= size)
        return -EINVAL;
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

static int decode_facts(const json_t *j, struct volume_facts *f)
{
    f->size = (uint64_t)json_integer_value(json_object_get(j, "size"));
    f->features = (uint64_t)json_integer_value(json_object_get(j, "features"));
    f->created = (time_t)json_integer_value(json_object_get(j, "created"));
    f->sharing = json_is_true(json_object_get(j, "shared")) ? SHARING_HOST : SHARING_EXCLUSIVE;
    f->frozen = json_is_true(json_object_get(j, "frozen"));
    (void)take_text(j, "remove", f->remove, sizeof f->remove); /* earlier versions did not write it */
    if (take_text(j, "fstype", f->fstype, sizeof f->fstype) < 0 ||
        take_text(j, "mount-options", f->mount_options, sizeof f->mount_options) < 0 ||
        take_text(j, "device", f->device, sizeof f->device) < 0 ||
        take_text(j, "mapper", f->mapper, sizeof f->mapper) < 0)
        return -EINVAL;
    return 0;
}

/* Has the volume been lost? Then *ret tells what is known of that. */
static bool decode_loss(const json_t *j, struct volume_loss *ret)
{
    if (!json_is_object(j))
        return false;
    ret->at = (time_t)json_integer_value(json_object_get(j, "at"));
    (void)take_text(j, "why", ret->why, sizeof ret->why);
    (void)take_text(j, "now", ret->now, sizeof ret->now);
    return true;
}

static int decode(const struct volumes *e, const json_t *j, struct state *s)
{
    char boot[40];
    *s = (struct state){ 0 };
    if (json_integer_value(json_object_get(j, "version")) != STATE_VERSION ||
        take_text(j, "boot_id", boot, sizeof boot) < 0 || strcmp(boot, e->host.boot_id) != 0)
        return -EINVAL;
    if (take_text(j, "pool", s->name.pool, sizeof s->name.pool) < 0 || !text_is_name(s->name.pool) ||
        take_text(j, "namespace", s->name.ns, sizeof s->name.ns) < 0 ||
        (s->name.ns[0] && !text_is_name(s->name.ns)) ||
        take_text(j, "image", s->name.image, sizeof s->name.image) < 0 || !text_is_name(s->name.image) ||
        take_text(j, "image_id", s->image_id, sizeof s->image_id) < 0 ||
        take_text(j, "mapping", s->mapping_id, sizeof s->mapping_id) < 0 ||
        decode_facts(json_object_get(j, "facts"), &s->facts) < 0)
        return -EINVAL;
    s->holders = json_object_get(j, "holders");
    s->lost = decode_loss(json_object_get(j, "lost"), &s->loss);
    return 0;
}

/* Only what was read, and is not ours, is removed. */
static int load(struct volumes *e, const char *path, void (*visit)(struct volumes *e, const struct state *s),
                struct error *err)
{
    struct state s;
    json_error_t why;
    auto_free char *text = NULL;
    json_auto_t *j = NULL;
    int rc = file_read_own(path, STATE_MAX, &text, NULL, err);
    if (file_was_not_read(rc))
        return rc;
    if (rc == 0)
        j = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (rc == 0 && !j && json_error_code(&why) == json_error_out_of_memory)
        return error_set(err, -ENOMEM, "cannot read %s: out of memory", path);
    if (decode(e, j, &s) < 0) {
        log_notice("removing a state file of another boot or version path=%s", path);
        (void)unlink(path);
        return 0;
    }
    visit(e, &s);
    return 0;
}

int statefile_each(struct volumes *e, void (*visit)(struct volumes *e, const struct state *s),
                   struct error *err)
{
    int rc = 0;
    auto_dir DIR *dir = opendir(e->volumes_dir);
    if (!dir)
        return error_set(err, -errno, "cannot read %s: %s", e->volumes_dir, error_text(errno));
    for (struct dirent *d; (d = readdir(dir));) {
        char path[PATH_MAX];
        size_t n = strlen(d->d_name);
        if (d->d_name[0] == '.' ||
            snprintf(path, sizeof path, "%s/%s", e->volumes_dir, d->d_name) >= PATH_MAX)
            continue;
        if (n > strlen(SUFFIX) && strcmp(d->d_name + n - strlen(SUFFIX), SUFFIX) == 0)
            rc = load(e, path, visit, err) < 0 ? err->code : rc;
        else
            (void)unlink(path); /* what a write that was cut off has left */
    }
    return rc;
}
