/* SPDX-License-Identifier: MIT */
#include "ceph/imagesnaps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/imagehandle.h"

#define SNAPS_FIRST 16

static int list(rbd_image_t image, rbd_snap_info_t **ret, int *n)
{
    int max = SNAPS_FIRST, rc;
    rbd_snap_info_t *all = NULL;
    do { /* -ERANGE sets max to what is needed */
        free(all);
        all = calloc((size_t)max, sizeof *all);
        if (!all)
            return -ENOMEM;
        rc = rbd_snap_list(image, all, &max);
    } while (rc == -ERANGE);
    if (rc < 0) {
        free(all);
        return rc;
    }
    *ret = all;
    *n = rc;
    return 0;
}

/* Others are groups' and mirrors', or in the trash for as long as they have clones. */
static bool of_user(rbd_image_t image, uint64_t id)
{
    rbd_snap_namespace_type_t type;
    return rbd_snap_get_namespace_type(image, id, &type) == 0 && type == RBD_SNAP_NAMESPACE_TYPE_USER;
}

static int visit_all(rbd_image_t image, void (*visit)(void *arg, const struct image_snap *snap), void *arg)
{
    rbd_snap_info_t *all = NULL;
    int n = 0, rc = list(image, &all, &n);
    if (rc < 0)
        return rc;
    for (int i = 0; i < n; i++) {
        struct timespec created;
        struct image_snap s = { .size = all[i].size };
        if (!of_user(image, all[i].id))
            continue;
        (void)snprintf(s.name, sizeof s.name, "%s", all[i].name);
        if (rbd_snap_get_timestamp(image, all[i].id, &created) == 0)
            s.created = created.tv_sec;
        visit(arg, &s);
    }
    if (n > 0)
        rbd_snap_list_end(all);
    free(all);
    return 0;
}

int image_snaps(const struct place *p, const char *id,
                void (*visit)(void *arg, const struct image_snap *snap), void *arg, struct error *err)
{
    rbd_image_t image;
    int rc = imagehandle_open(p, id, true, &image, err);
    if (rc < 0)
        return rc;
    rc = visit_all(image, visit, arg);
    (void)rbd_close(image);
    return rc < 0 ? place_error(p, rc, err, "cannot list the image's snapshots") : 0;
}

struct search {
    const char *name;
    struct image_snap *ret;
    bool found;
};

static void compare(void *arg, const struct image_snap *snap)
{
    struct search *s = arg;
    if (strcmp(s->name, snap->name) != 0)
        return;
    *s->ret = *snap;
    s->found = true;
}

int image_snap_find(const struct place *p, const char *id, const char *name, struct image_snap *ret,
                    struct error *err)
{
    struct search s = { .name = name, .ret = ret };
    int rc = image_snaps(p, id, compare, &s, err);
    return rc < 0 ? rc : s.found ? 0 : error_set(err, -ENODEV, "there is no snapshot '%s'", name);
}

int image_clone(const struct place *from, const char *name, const char *snap, const struct place *to,
                const char *clone, const struct image_layout *layout, struct error *err)
{
    rbd_image_options_t opts;
    rbd_image_options_create(&opts);
    int rc = rbd_image_options_set_uint64(opts, RBD_IMAGE_OPTION_CLONE_FORMAT, 2);
    if (rc == 0)
        rc = imagehandle_layout(layout, opts);
    if (rc == 0)
        rc = rbd_clone3(from->io, name, snap, to->io, clone, opts);
    rbd_image_options_destroy(opts);
    if (rc == -ENOENT)
        return error_set(err, -ENODEV, "there is no snapshot '%s' of image '%s'%s", snap, name,
                         layout->data_pool[0] ? ", or no such data pool" : "");
    return rc < 0 ? place_error(to, rc, err, "cannot clone '%s@%s'", name, snap) : 0;
}
