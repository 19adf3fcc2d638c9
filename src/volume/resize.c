/* SPDX-License-Identifier: MIT */
#include "volume/resize.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "volume/change.h"
#include "volume/createopts.h"
#include "volume/lookup.h"
#include "volume/mapping.h"
#include "volume/task.h"

#define GROW_MS 60000

void resize_at_mount(struct volume *v, struct device *d, const char *mountpoint)
{
    char full[IMAGE_NAME_MAX + 1];
    struct error err;
    bool grown = false;
    if (device_grow(d, mapping_blocks(&v->mapping), &v->node, v->facts.fstype, mountpoint,
                    clock_in_ms(GROW_MS), &grown, &err) < 0)
        log_warning("the file system is smaller than its image, and was not grown volume=%s: %s",
                    image_name_full(&v->name, full), err.msg);
    else if (grown)
        log_notice("grew the file system to its image volume=%s", image_name_full(&v->name, full));
}

static int grow_mounted(struct task *t, bool *grown, struct error *err)
{
    char mountpoint[PATH_MAX];
    const struct volume *v = t->volume;
    struct device *d = NULL;
    engine_mountpoint(t->engine, &v->name, mountpoint);
    int rc = device_start(&d, err);
    if (rc == 0)
        rc = device_grow(d, mapping_blocks(&v->mapping), &v->node, v->facts.fstype, mountpoint,
                         clock_in_ms(GROW_MS), grown, err);
    device_end(d);
    return rc;
}

/* May it be made so large? 1: yes; 0: it is so large already. */
static int check_size(const struct task *t, uint64_t size, struct error *err)
{
    auto_header struct image_header h = { 0 };
    char have[32], want[32];
    int rc = lookup_header(t->place, t->volume->name.image, t->id, &h, err);
    if (rc < 0)
        return rc;
    if (size < h.size)
        return error_set(err, -EINVAL,
                         "it has %s, and shrinking it to %s would cut off its file system; make a smaller "
                         "volume and copy the data",
                         text_size(h.size, have), text_size(size, want));
    if (size == h.size)
        return 0;
    rc = createopts_check_max(t->engine->settings, size, err);
    return rc < 0 ? rc : 1;
}

static int grow_image(struct task *t, uint64_t size, struct error *err)
{
    auto_header struct image_header now = { 0 };
    char full[IMAGE_NAME_MAX + 1], text[32];
    struct error also;
    const struct image_change change = { .what = IMAGE_GROW, .size = size, .snap = "" };
    int rc = change_run(t->engine, t->volume, t->place, t->id, &change, err);
    /* who did not hear how it went looks */
    if (rc == -ETIMEDOUT && image_read_header(t->place, t->id, &now, &also) == 0 && now.size == size)
        rc = 0;
    if (rc < 0)
        return rc;
    log_notice("resized volume=%s id=%s size=%s", image_name_full(&t->volume->name, full), t->id,
               text_size(size, text));
    return 0;
}

static int resize(struct task *t, struct error *err)
{
    const uint64_t size = *(const uint64_t *)t->arg;
    bool grown = false;
    char text[32];
    int mounted = change_check(t->volume, t->id, err);
    if (mounted < 0)
        return mounted;
    int rc = check_size(t, size, err);
    if (rc == 1)
        rc = grow_image(t, size, err);
    if (rc < 0)
        return rc;
    if (mounted) {
        pthread_mutex_lock(&t->volume->lock);
        t->volume->facts.size = size;
        pthread_mutex_unlock(&t->volume->lock);
        rc = grow_mounted(t, &grown, err);
    }
    if (rc < 0)
        return error_prefix(err, "the image has %s now, its file system not", text_size(size, text));
    json_object_set_new(t->out, "Size", json_integer((json_int_t)size));
    json_object_set_new(t->out, "Mounted", json_boolean(mounted));
    json_object_set_new(t->out, "Grown", json_boolean(grown));
    return 0;
}

int resize_volume(struct volumes *e, const char *name, const char *size, moment deadline, json_t **ret,
                  struct error *err)
{
    static const struct task_kind kind = { "resize", "resizing", resize };
    uint64_t *bytes = calloc(1, sizeof *bytes);
    if (!bytes)
        abort();
    if (createopts_size(e->settings, size, bytes, err) < 0) {
        free(bytes);
        return error_prefix(err, "cannot resize '%.100s'", name);
    }
    return task_run(e, name, &kind, bytes, deadline, ret, err);
}
