/* SPDX-License-Identifier: MIT */
#include "volume/query.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "ceph/imageadmin.h"
#include "volume/lookup.h"
#include "volume/lost.h"
#include "volume/mapping.h"
#include "volume/ownership.h"
#include "volume/walk.h"

/* What Status says, put together before it becomes JSON. */
struct view {
    const struct image_name *name;
    struct volume_facts facts;
    const char *state;
    char mountpoint[PATH_MAX];
    char owner[400];
    char trouble[1400];
    json_t *holders;
    enum remove_policy policy; /* the host's */
    bool ambiguous;
};

static json_t *view_json(struct view *w, const char *asked)
{
    char features[128], created[32];
    json_t *status = json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "pool", w->name->pool, "namespace",
        w->name->ns, "image", w->name->image, "size", (json_int_t)w->facts.size, "fstype", w->facts.fstype,
        "mapper", w->facts.mapper, "device", w->facts.device, "state", w->state, "owner", w->owner,
        "features", image_feature_names(w->facts.features, features, sizeof features), "options",
        w->facts.mount_options, "remove", w->facts.remove[0] ? w->facts.remove : spec_remove_name(w->policy));
    json_object_set_new(status, "holders", w->holders ? w->holders : json_array());
    if (w->trouble[0])
        json_object_set_new(status, "trouble", json_string(w->trouble));
    if (w->ambiguous)
        json_object_set_new(status, "ambiguous", json_true());
    json_t *volume =
        json_pack("{s:s, s:s, s:o}", "Name", asked, "Mountpoint", w->mountpoint, "Status", status);
    if (w->facts
            .created) { /* absent is fine; anything but RFC 3339 would make Docker refuse the whole answer */
        clock_rfc3339(w->facts.created, created, sizeof created);
        json_object_set_new(volume, "CreatedAt", json_string(created));
    }
    return volume;
}

/* A dead mount is none. With the lock held, as the next. */
static bool is_mounted(const struct volume *v)
{
    return v->rung == RUNG_MOUNTED && !v->lost;
}

/* What is wrong with it: lost, stuck, not to be taken down. "": nothing. */
static void trouble_text(const struct volume *v, char *buf, size_t size)
{
    char text[sizeof v->loss.why + sizeof v->loss.now + 80], span[32];
    buf[0] = '\0';
    if (v->lost)
        (void)lost_text(v, buf, size);
    if (v->stuck_since) {
        clock_span(clock_since_ms(v->stuck_since), span, sizeof span);
        (void)snprintf(buf, size, "stuck: none of its I/O was answered for %s", span);
    }
    if (!v->trouble.code)
        return;
    (void)snprintf(text, sizeof text, "%s", buf);
    (void)snprintf(buf, size, "%s%s%s", text, text[0] ? "; " : "", v->trouble.msg);
    text_printable(buf); /* where it was cut */
}

/* From memory: 1 the volume is mapped or mounted here, or held, and its facts are known. */
static int view_local(struct volumes *e, const struct image_name *name, struct view *w)
{
    struct volume *v = registry_find(&e->registry, name);
    if (!v)
        return 0;
    int here = 0;
    {
        LOCK_SCOPE(&v->lock);
        here = v->known && (v->rung >= RUNG_MAPPED ||
                            (v->holders.n > 0 && (v->rung == RUNG_CLAIMED || v->lost || v->reviving)));
        if (here) {
            w->facts = v->facts;
            w->state = volume_state(v);
            w->holders = holders_json(&v->holders, false);
            if (is_mounted(v))
                engine_mountpoint(e, name, w->mountpoint);
            trouble_text(v, w->trouble, sizeof w->trouble);
            if (v->lost)
                (void)snprintf(w->owner, sizeof w->owner, "%s", v->loss.now);
            else
                (void)snprintf(w->owner, sizeof w->owner, "%s (this host)", e->host.host);
        }
    }
    registry_release(&e->registry, v);
    return here;
}

/* Who has it, elsewhere. What is seen is also what is judged by a Mount, but for the ping. */
static int view_owner(struct volumes *e, const struct place *p, const char *id, struct view *w,
                      struct error *err)
{
    struct ownership o;
    int rc = ownership_look(e, p, id, &o, err);
    if (rc < 0 || o.kind == OWNER_NONE)
        return rc;
    (void)ownership_text(&o, w->owner);
    w->state = o.kind == OWNER_BY_HAND ? "locked by hand"
               : o.watches             ? "in use elsewhere"
                                       : "left by a dead owner";
    return 0;
}

/* A removal of ours of which only some writes landed: Mount takes it back, Remove or the collector finish it.
 */
static bool is_half_removed(const struct place *p, int rc, const char *id)
{
    auto_header struct image_header h = { 0 };
    struct error ignored;
    return rc == -ENODATA ||
           (rc == -EUCLEAN && id[0] && image_read_header(p, id, &h, &ignored) == 0 && h.trashed);
}

static int view_cluster(struct volumes *e, const struct image_name *name, struct view *w, struct error *err)
{
    char id[IMAGE_ID_LEN + 1] = "";
    auto_place struct place p = PLACE_NONE;
    auto_header struct image_header h = { 0 };
    auto_spec struct spec spec = { 0 };
    struct error ignored;
    int rc = engine_place(e, name, &p, err);
    if (rc == 0)
        rc = lookup_image(&p, name->image, id, err);
    if (rc == 0)
        rc = lookup_header(&p, name->image, id, &h, err);
    if (is_half_removed(&p, rc, id)) { /* an answer, or Docker would forget it and could not remove it */
        w->state = "half removed";
        (void)snprintf(w->trouble, sizeof w->trouble, "%s", err->msg);
        return 0;
    }
    if (rc < 0)
        return rc;
    w->state = "detached";
    w->facts.size = h.size;
    w->facts.features = h.features;
    w->facts.created = h.created;
    if (h.spec && spec_decode(h.spec, &spec, &ignored) == 0) {
        memcpy(w->facts.fstype, spec.fstype, sizeof w->facts.fstype);
        memcpy(w->facts.mount_options, spec.mount_options, sizeof w->facts.mount_options);
        memcpy(w->facts.remove, spec.remove, sizeof w->facts.remove);
    }
    return view_owner(e, &p, id, w, err);
}

int query_get(struct volumes *e, const char *text, json_t **ret, struct error *err)
{
    struct volume_name name;
    struct image_name image;
    struct view w = { .name = &image, .policy = e->settings->remove };
    int rc = name_parse(e->settings, text, &name, err);
    if (rc < 0)
        return error_prefix(err, "cannot look at '%.100s'", text);
    rc = lookup_name(e, &name, &image, err);
    if (rc == -EEXIST) { /* in two pools: an error would make Docker forget it */
        w.ambiguous = true;
        rc = 0;
    }
    if (rc == 0 && !view_local(e, &image, &w))
        rc = view_cluster(e, &image, &w, err);
    if (rc == -ENOENT)
        return error_set(err, rc, "no such volume: '%.200s'", text);
    if (rc == -EINVAL) /* the cluster's or librados': not the name's, which is an answer */
        err->code = -EIO;
    if (rc < 0)
        return error_prefix(err, "cannot look at '%.100s'", text);
    *ret = view_json(&w, text);
    /* an answer without it would be "no such volume" to Docker */
    return *ret ? 0 : error_set(err, -EIO, "cannot look at '%.100s': what is known of it is no text", text);
}

int query_path(struct volumes *e, const char *text, char mountpoint[static PATH_MAX], struct error *err)
{
    struct volume_name name;
    struct image_name image;
    int rc = name_parse(e->settings, text, &name, err);
    if (rc < 0)
        return rc;
    mountpoint[0] = '\0';
    lookup_local(e, &name, &image);
    struct volume *v = registry_find(&e->registry, &image);
    if (!v)
        return 0;
    pthread_mutex_lock(&v->lock);
    if (is_mounted(v))
        engine_mountpoint(e, &image, mountpoint);
    pthread_mutex_unlock(&v->lock);
    registry_release(&e->registry, v);
    return 0;
}

/* One pool's images while List is at it. */
struct listing {
    const char *home; /* the configured namespace, which names without one mean */
    unsigned pool, hidden;
    bool at_home;  /* in that namespace now */
    json_t *names; /* image name → number of pools that have it there; NULL: there is but one pool */
    json_t *found; /* [pool number, namespace, [image names]], in order */
    json_t *here;  /* the list that is being made */
};

static void list_one(void *arg, const char *image, const char *id)
{
    struct listing *l = arg;
    if (!name_is_listable(image) || id[0] == '\0') { /* no volume name, or format 1 */
        l->hidden += strncmp(image, IMAGE_TEMP, strlen(IMAGE_TEMP)) != 0;
        return;
    }
    if (l->names && l->at_home)
        json_object_set_new(l->names, image,
                            json_integer(json_integer_value(json_object_get(l->names, image)) + 1));
    json_array_append_new(l->here, json_string(image));
}

static int list_place(void *arg, const struct image_name *where, const struct place *p, struct error *err)
{
    struct listing *l = arg;
    json_auto_t *here = json_array();
    l->at_home = strcmp(where->ns, l->home) == 0;
    l->here = here;
    int rc = image_list(p, list_one, l, err);
    /* A namespace whose name is no text, which a tenant can make, is left out. */
    json_array_append_new(l->found, json_pack("[i, s, O]", (int)l->pool, where->ns, here));
    return rc;
}

/* A daemon of one namespace lists that; one of none what its key opens. */
static int list_pools(struct volumes *e, struct listing *l, struct error *err)
{
    for (unsigned i = 0; i < e->settings->npools; i++) {
        const char *pool = e->settings->pools[i];
        l->pool = i;
        l->hidden = 0;
        int rc = walk_pool(e, pool, !e->settings->ns[0], list_place, l, err);
        if (rc < 0)
            return error_prefix(err, "cannot list the volumes");
        LOCK_SCOPE(&e->lock);
        (void)snprintf(e->hidden[i].pool, sizeof e->hidden[i].pool, "%s", pool);
        e->hidden[i].n = l->hidden;
    }
    return 0;
}

/* The answer to List while it is made: 10,000 times the same text is one. */
struct listed {
    json_t *volumes;
    json_t *mounted; /* full name → mountpoint, of what is mounted here */
    json_t *nowhere; /* "" */
};

static json_t *mounted_here(struct volumes *e)
{
    size_t n;
    json_t *mounted = json_object();
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        char full[IMAGE_NAME_MAX + 1], mountpoint[PATH_MAX];
        pthread_mutex_lock(&all[i]->lock);
        if (is_mounted(all[i]))
            json_object_set_new(mounted, image_name_full(&all[i]->name, full),
                                json_string(engine_mountpoint(e, &all[i]->name, mountpoint)));
        pthread_mutex_unlock(&all[i]->lock);
        registry_release(&e->registry, all[i]);
    }
    free(all);
    return mounted;
}

/* name: as it is to be shown; its reference is taken. */
static void add_volume(struct listed *l, const struct image_name *image, json_t *name)
{
    char full[IMAGE_NAME_MAX + 1];
    json_t *where = NULL, *one = json_object();
    if (json_object_size(l->mounted) > 0)
        where = json_object_get(l->mounted, image_name_full(image, full));
    json_object_set_new_nocheck(one, "Name", name);
    json_object_set_nocheck(one, "Mountpoint", where ? where : l->nowhere);
    json_array_append_new(l->volumes, one);
}

/* What is mounted here, for want of the cluster. */
static size_t list_local(struct volumes *e, struct listed *l)
{
    size_t n, listed = 0;
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&all[i]->lock);
        /* a Mount that waits for the cluster may be of a volume that does not exist */
        bool here = all[i]->known && (is_mounted(all[i]) || all[i]->holders.n > 0);
        pthread_mutex_unlock(&all[i]->lock);
        if (here) {
            const struct image_name *name = &all[i]->name;
            char full[IMAGE_NAME_MAX + 1];
            bool plain = strcmp(name->pool, e->settings->pools[0]) == 0 && !name->ns[0];
            add_volume(l, name, json_string(plain ? name->image : image_name_full(name, full)));
            listed++;
        }
        registry_release(&e->registry, all[i]);
    }
    free(all);
    return listed;
}

/* Those of one place. A name is plain, without its pool, where it can mean nothing else. */
static void add_place(struct volumes *e, const struct listing *l, const json_t *place, struct listed *out)
{
    struct image_name image = { 0 };
    json_int_t pool = json_integer_value(json_array_get(place, 0));
    const json_t *images = json_array_get(place, 2);
    (void)snprintf(image.pool, sizeof image.pool, "%s", e->settings->pools[pool]);
    (void)snprintf(image.ns, sizeof image.ns, "%s", json_string_value(json_array_get(place, 1)));
    for (size_t i = 0; i < json_array_size(images); i++) {
        json_t *name = json_array_get(images, i);
        char full[IMAGE_NAME_MAX + 1];
        const char *text = json_string_value(name);
        bool only = !l->names || json_integer_value(json_object_get(l->names, text)) == 1;
        memcpy(image.image, text, json_string_length(name) + 1); /* name_is_listable() */
        bool plain = pool == 0 && !image.ns[0] && only;
        add_volume(out, &image, plain ? json_incref(name) : json_string(image_name_full(&image, full)));
    }
}

int query_list(struct volumes *e, json_t **ret, struct error *err)
{
    json_auto_t *found = json_array();
    json_auto_t *names = e->settings->npools > 1 ? json_object() : NULL;
    struct listing l = { .home = e->settings->ns, .names = names, .found = found };
    size_t i;
    json_t *one;
    int rc = list_pools(e, &l, err);
    /* what is mounted by now: the cluster may have taken its time */
    json_auto_t *volumes = json_array(), *mounted = mounted_here(e), *nowhere = json_string("");
    struct listed out = { volumes, mounted, nowhere };
    if (rc < 0) { /* some pools may have answered: all or none */
        json_array_clear(found);
        if (list_local(e, &out) == 0)
            return rc;
    }
    json_array_foreach(found, i, one) add_place(e, &l, one, &out);
    *ret = json_incref(volumes);
    return 0;
}

static json_t *cluster_json(struct volumes *e)
{
    static const char *const states[] = {
        [CLUSTER_CONNECTING] = "connecting", [CLUSTER_UP] = "up", [CLUSTER_DOWN] = "down"
    };
    struct cluster_status s;
    char since[32];
    cluster_status(e->cluster, &s);
    clock_rfc3339(s.since, since, sizeof since);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "State", states[s.state], "Fsid", s.fsid, "Since", since,
                     "Why", s.why, "NoFencing", s.no_fencing);
}

static json_t *volume_json(struct volumes *e, struct volume *v)
{
    char full[IMAGE_NAME_MAX + 1], mountpoint[PATH_MAX] = "", trouble[1400];
    LOCK_SCOPE(&v->lock);
    if (v->rung == RUNG_DETACHED && v->holders.n == 0 && !v->busy && !v->retry_at)
        return NULL;
    if (is_mounted(v))
        engine_mountpoint(e, &v->name, mountpoint);
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "Name", image_name_full(&v->name, full), "State",
                          volume_state(v), "Mapper", v->facts.mapper, "Device", v->facts.device, "Mountpoint",
                          mountpoint, "Holders", holders_json(&v->holders, false));
    if (v->mapping.ro)
        json_object_set_new(j, "ReadOnly", json_true());
    if (v->facts.mapper_why[0])
        json_object_set_new(j, "MapperWhy", json_string(v->facts.mapper_why));
    if (v->busy) {
        char since[32];
        clock_rfc3339(time(NULL) - (time_t)(clock_since_ms(v->busy_since) / 1000), since, sizeof since);
        json_object_set_new(j, "Busy", json_string(v->busy));
        json_object_set_new(j, "BusySince", json_string(since));
    }
    trouble_text(v, trouble, sizeof trouble);
    if (trouble[0])
        json_object_set_new(j, "Pending", json_string(trouble));
    if (v->retry_at) {
        char at[32];
        clock_rfc3339(time(NULL) + clock_left_ms(v->retry_at) / 1000, at, sizeof at);
        json_object_set_new(j, "NextTry", json_string(at));
    }
    return j;
}

/* The one that an image without special features would get now. */
static json_t *mapper_json(struct volumes *e)
{
    const struct mapper *mapper = NULL;
    struct error err;
    char why[sizeof err.msg];
    int rc = mapping_choose_any(e->settings, &mapper, why, sizeof why, &err);
    return json_pack("{s:s, s:s}", "Name", rc < 0 ? "" : mapper->name, "Why", rc < 0 ? err.msg : why);
}

json_t *query_status(struct volumes *e)
{
    size_t n;
    json_t *list = json_array(), *hidden = json_object(), *pools = json_array();
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        json_t *one = volume_json(e, all[i]);
        if (one)
            json_array_append_new(list, one);
        registry_release(&e->registry, all[i]);
    }
    free(all);
    for (unsigned i = 0; i < e->settings->npools; i++)
        json_array_append_new(pools, json_string(e->settings->pools[i]));
    {
        LOCK_SCOPE(&e->lock);
        for (unsigned i = 0; i < POOLS_MAX; i++)
            if (e->hidden[i].n)
                json_object_set_new(hidden, e->hidden[i].pool, json_integer(e->hidden[i].n));
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "Version", RBDVOL_VERSION, "Instance",
                     e->settings->name, "Cluster", cluster_json(e), "Mapper", mapper_json(e), "Pools", pools,
                     "Hidden", hidden, "Volumes", list);
}
