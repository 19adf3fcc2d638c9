/* SPDX-License-Identifier: MIT */
#include "volume/trash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/job.h"
#include "base/log.h"
#include "ceph/imageadmin.h"
#include "volume/name.h"
#include "volume/walk.h"

/* The walk through all places of this daemon, or to the one that is named. */
struct search {
    struct image_name where; /* the place that it is in */
    json_t *list;            /* of trash_list */
    const char *id;          /* wanted: by id, "" none, */
    struct volume_name name; /* or by name; image "": not by name */
    unsigned found;
    struct image_name found_in; /* of the last one found */
    struct image_trashed it;
    char ids[200]; /* of all, for people */
};

static void add(void *arg, const struct image_trashed *one)
{
    struct search *w = arg;
    struct image_name name = w->where;
    char full[IMAGE_NAME_MAX + 1], moved[32], until[32];
    if (strlen(one->name) > NAME_PART_MAX)
        return;
    (void)snprintf(name.image, sizeof name.image, "%s", one->name);
    clock_rfc3339(one->moved, moved, sizeof moved);
    clock_rfc3339(one->until, until, sizeof until);
    json_array_append_new(w->list, json_pack("{s:s, s:s, s:s, s:s}", "Name", image_name_full(&name, full),
                                             "Id", one->id, "Trashed", moved, "Until", until));
}

static int list_place(void *arg, const struct image_name *where, const struct place *p, struct error *err)
{
    struct search *w = arg;
    w->where = *where;
    return image_trashed_each(p, add, w, err);
}

int trash_list(struct volumes *e, json_t **ret, struct error *err)
{
    json_auto_t *list = json_array();
    struct search w = { .list = list };
    int rc = walk_pools(e, true, list_place, &w, err);
    if (rc < 0)
        return error_prefix(err, "cannot list the trash");
    *ret = json_pack("{s:O}", "Volumes", list);
    return 0;
}

/* An id is one in every place; a name without a place is one of the configured namespace. */
static bool is_wanted(const struct search *w, const struct image_trashed *one)
{
    const struct image_name *name = &w->name.image;
    if (strcmp(one->id, w->id) == 0 || strcmp(one->id, name->image) == 0)
        return true;
    return name->image[0] && strcmp(one->name, name->image) == 0 && strcmp(name->ns, w->where.ns) == 0;
}

static void compare(void *arg, const struct image_trashed *one)
{
    struct search *w = arg;
    if (!is_wanted(w, one))
        return;
    w->found++;
    w->it = *one;
    w->found_in = w->where;
    size_t len = strlen(w->ids);
    (void)snprintf(w->ids + len, sizeof w->ids - len, "%s%s", len ? ", " : "", one->id);
}

static int search_place(void *arg, const struct image_name *where, const struct place *p, struct error *err)
{
    struct search *w = arg;
    w->where = *where;
    return image_trashed_each(p, compare, w, err);
}

/* The place that was named, configured or not. */
static int search_there(struct volumes *e, struct search *w, struct error *err)
{
    auto_place struct place p = PLACE_NONE;
    struct image_name where = w->name.image;
    where.image[0] = '\0';
    int rc = engine_place(e, &where, &p, err);
    return rc < 0 ? rc : search_place(w, &where, &p, err);
}

/* Exactly one. */
static int find(struct volumes *e, const char *what, struct search *w, struct error *err)
{
    struct error no_name;
    *w = (struct search){ .id = what };
    if (name_parse(e->settings, what, &w->name, &no_name) < 0)
        w->name = (struct volume_name){ 0 };
    int rc = w->name.image.pool[0] ? search_there(e, w, err) : walk_pools(e, true, search_place, w, err);
    if (rc < 0)
        return rc;
    if (w->found == 0)
        return error_set(err, -ENODEV, "nothing of that name or id that rbdvol put there is in the trash");
    return w->found == 1 ? 0
                         : error_set(err, -EEXIST, "it is in the trash %u times; name one by its id: %s",
                                     w->found, w->ids);
}

static int restore(struct volumes *e, const struct search *w, const char *as, json_t **ret, struct error *err)
{
    struct volume_name name;
    struct image_name image = w->found_in;
    char full[IMAGE_NAME_MAX + 1];
    auto_place struct place p = PLACE_NONE;
    int rc = name_parse(e->settings, as[0] ? as : w->it.name, &name, err);
    if (rc < 0)
        return rc;
    if (name.image.pool[0] &&
        (strcmp(name.image.pool, image.pool) != 0 || strcmp(name.image.ns, image.ns) != 0))
        return error_set(err, -EINVAL, "it was in '%s%s%s', and stays there", image.pool,
                         image.ns[0] ? "/" : "", image.ns);
    memcpy(image.image, name.image.image, sizeof image.image);
    rc = engine_place(e, &image, &p, err);
    if (rc == 0)
        rc = image_restore(&p, w->it.id, image.image, err);
    if (rc < 0)
        return rc;
    log_notice("restored volume=%s id=%s from the trash", image_name_full(&image, full), w->it.id);
    *ret = json_pack("{s:s}", "Name", full);
    return 0;
}

int trash_restore(struct volumes *e, const char *what, const char *as, json_t **ret, struct error *err)
{
    struct search w;
    int rc = find(e, what, &w, err);
    if (rc == 0)
        rc = restore(e, &w, as, ret, err);
    return rc < 0 ? error_prefix(err, "cannot restore '%.100s'", what) : 0;
}

struct work {
    struct volumes *engine;
    char what[IMAGE_NAME_MAX + 1];
};

static int purge_one(struct volumes *e, const char *what, struct error *err)
{
    struct search w;
    auto_place struct place p = PLACE_NONE;
    int rc = find(e, what, &w, err);
    if (rc == 0)
        rc = engine_place(e, &w.found_in, &p, err);
    if (rc == 0)
        rc = image_purge_now(&p, w.it.id, err);
    if (rc == 0)
        log_notice("purged image=%s id=%s from the trash: asked for", w.it.name, w.it.id);
    return rc;
}

static int purge_place(void *arg, const struct image_name *where, const struct place *p, struct error *err)
{
    (void)arg;
    (void)where;
    return image_purge_own(p, NULL, err);
}

static int work_run(void *arg, struct error *err)
{
    const struct work *w = arg;
    return w->what[0] ? purge_one(w->engine, w->what, err)
                      : walk_pools(w->engine, true, purge_place, NULL, err);
}

static void work_release(void *arg)
{
    struct work *w = arg;
    struct volumes *e = w->engine;
    free(w);
    engine_work_ends(e);
}

int trash_purge(struct volumes *e, const char *what, moment deadline, struct error *err)
{
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->engine = e;
    (void)snprintf(w->what, sizeof w->what, "%s", what);
    engine_work_begins(e);
    int rc = job_run(work_run, work_release, w, deadline, err);
    return rc < 0 ? error_prefix(err, "cannot purge%s%.100s%s", what[0] ? " '" : " the trash", what,
                                 what[0] ? "'" : "")
                  : 0;
}
