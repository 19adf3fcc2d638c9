/* SPDX-License-Identifier: MIT */
#include "volume/stray.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "host/loop.h"
#include "host/mountinfo.h"

struct walk {
    struct volumes *engine;
    void (*found)(struct volumes *e, const struct image_name *name, const char *mapping);
};

static bool take_part(char *to, size_t size, const char *text, size_t len)
{
    if (len >= size)
        return false;
    memcpy(to, text, len);
    to[len] = '\0';
    return text_is_name(to);
}

/* MOUNT-ROOT/POOL[+NAMESPACE]/IMAGE, backwards. */
static bool name_of(const struct volumes *e, const char *mountpoint, struct image_name *ret)
{
    size_t root = strlen(e->mount_root);
    *ret = (struct image_name){ 0 };
    if (strncmp(mountpoint, e->mount_root, root) != 0 || mountpoint[root] != '/')
        return false;
    const char *place = mountpoint + root + 1, *image = strchr(place, '/');
    if (!image)
        return false;
    const char *plus = memchr(place, '+', (size_t)(image - place));
    return take_part(ret->pool, sizeof ret->pool, place, (size_t)((plus ? plus : image) - place)) &&
           (!plus || take_part(ret->ns, sizeof ret->ns, plus + 1, (size_t)(image - plus - 1))) &&
           take_part(ret->image, sizeof ret->image, image + 1, strlen(image + 1));
}

/* RUN-DIR/ID.img: nobody else has files there. */
static bool mapping_of(const struct volumes *e, const char *file, char id[static MAPPING_ID_LEN + 1])
{
    size_t dir = strlen(e->run_dir);
    if (strncmp(file, e->run_dir, dir) != 0 || file[dir] != '/')
        return false;
    (void)snprintf(id, MAPPING_ID_LEN + 1, "%s", file + dir + 1);
    return text_is_hex(id, MAPPING_ID_LEN) &&
           strncmp(file + dir + 1 + MAPPING_ID_LEN, ".img", strlen(".img")) == 0;
}

static bool visit(void *arg, const struct mount_entry *m)
{
    const struct walk *w = arg;
    struct image_name name;
    char file[PATH_MAX], id[MAPPING_ID_LEN + 1];
    if (name_of(w->engine, m->mountpoint, &name) && loop_backing(m->source, file, sizeof file) == 1 &&
        mapping_of(w->engine, file, id))
        w->found(w->engine, &name, id);
    return false;
}

void stray_each(struct volumes *e,
                void (*found)(struct volumes *e, const struct image_name *name, const char *mapping))
{
    struct walk w = { e, found };
    struct error err;
    if (mountinfo_each("self", visit, &w, &err) < 0)
        log_warning("cannot look for mounts that no state file tells of: %s", err.msg);
}
