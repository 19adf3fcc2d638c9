/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/identity.h"
#include "base/text.h"
#include "host/mapping-record.h"

#define VERSION    1
#define RECORD_MAX 8192

static void path_of(const char *run_dir, const char *kind, const char *mapping, char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/%s.%s", run_dir, mapping, kind);
}

int mapping_record_write(const char *run_dir, const char *kind, const struct mapping_record *r,
                         struct error *err)
{
    char path[PATH_MAX];
    struct identity host;
    int rc = identity_read(&host, err);
    if (rc < 0)
        return rc == -ENOENT ? (err->code = -EIO) : rc;
    json_auto_t *j =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b}", "version", VERSION, "boot_id",
                  host.boot_id, "pool", r->name.pool, "namespace", r->name.ns, "image", r->name.image,
                  "image_id", r->image_id, "fsid", r->fsid, "pool_id", (json_int_t)r->pool_id, "ro", r->ro);
    auto_free char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    if (!text)
        return error_set(err, -ENOMEM, "out of memory");
    path_of(run_dir, kind, r->mapping, path);
    rc = file_replace(path, text, strlen(text), err);
    return rc == -ENOENT ? (err->code = -EIO) : rc;
}

void mapping_record_remove(const char *run_dir, const char *kind, const char *mapping)
{
    char path[PATH_MAX];
    path_of(run_dir, kind, mapping, path);
    (void)unlink(path);
}

static int decode(const char *text, const char *boot_id, struct mapping_record *r)
{
    json_error_t why;
    json_auto_t *j = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    const char *boot, *pool, *ns, *image, *id, *fsid;
    int version, ro;
    json_int_t pool_id;
    if (!j && json_error_code(&why) == json_error_out_of_memory)
        return -ENOMEM;
    if (!j || json_unpack(j, "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b}", "version", &version, "boot_id",
                          &boot, "pool", &pool, "namespace", &ns, "image", &image, "image_id", &id, "fsid",
                          &fsid, "pool_id", &pool_id, "ro", &ro) < 0)
        return -EINVAL;
    if (version != VERSION || strcmp(boot, boot_id) != 0 || !text_is_name(pool) || !text_is_name(image) ||
        (*ns && !text_is_name(ns)) || strlen(id) >= sizeof r->image_id || strlen(fsid) >= sizeof r->fsid)
        return -EINVAL;
    (void)snprintf(r->name.pool, sizeof r->name.pool, "%s", pool);
    (void)snprintf(r->name.ns, sizeof r->name.ns, "%s", ns);
    (void)snprintf(r->name.image, sizeof r->name.image, "%s", image);
    (void)snprintf(r->image_id, sizeof r->image_id, "%s", id);
    (void)snprintf(r->fsid, sizeof r->fsid, "%s", fsid);
    r->pool_id = pool_id;
    r->ro = ro;
    return 0;
}

int mapping_record_read(const char *run_dir, const char *kind, const char *mapping,
                        struct mapping_record *ret, struct error *err)
{
    char path[PATH_MAX];
    struct identity host;
    struct mapping_record r = { 0 };
    auto_free char *text = NULL;
    path_of(run_dir, kind, mapping, path);
    (void)snprintf(r.mapping, sizeof r.mapping, "%s", mapping);
    int rc = identity_read(&host, err);
    if (rc < 0)
        return rc == -ENOENT ? (err->code = -EIO) : rc;
    rc = file_read_own(path, RECORD_MAX, &text, NULL, err);
    if (file_was_not_read(rc))
        return rc;
    if (rc == 0)
        rc = decode(text, host.boot_id, &r);
    if (rc == -ENOMEM)
        return error_set(err, rc, "cannot read %s: out of memory", path);
    if (rc == 0)
        *ret = r;
    return rc == 0;
}

/* "<id>.<kind>": the id, and in *whole that nothing follows (a write that was cut off, output). False:
 * another kind of file. */
static bool id_of(const char *file, const char *kind, char id[static MAPPING_ID_LEN + 1], bool *whole)
{
    size_t len = strlen(kind);
    (void)snprintf(id, MAPPING_ID_LEN + 1, "%s", file);
    if (!text_is_hex(id, MAPPING_ID_LEN) || file[MAPPING_ID_LEN] != '.' ||
        strncmp(file + MAPPING_ID_LEN + 1, kind, len) != 0)
        return false;
    *whole = file[MAPPING_ID_LEN + 1 + len] == '\0';
    return true;
}

static DIR *open_dir(const char *run_dir, struct error *err)
{
    DIR *dir = opendir(run_dir);
    if (!dir)
        error_set(err, errno == ENOENT ? -EIO : -errno, "cannot read %s: %s", run_dir, error_text(errno));
    return dir;
}

int mapping_record_each(const char *run_dir, const char *kind,
                        bool (*visit)(void *arg, const struct mapping_record *r), void *arg,
                        struct error *err)
{
    char id[MAPPING_ID_LEN + 1];
    int rc = 0;
    auto_dir DIR *dir = open_dir(run_dir, err);
    if (!dir)
        return err->code;
    for (const struct dirent *e; (e = readdir(dir));) {
        struct mapping_record r;
        bool whole;
        if (!id_of(e->d_name, kind, id, &whole) || !whole)
            continue;
        int one = mapping_record_read(run_dir, kind, id, &r, err);
        if (one == 1 && visit(arg, &r))
            return 0;
        if (one < 0)
            rc = one;
    }
    return rc;
}

int mapping_record_sweep(const char *run_dir, const char *kind, struct error *err)
{
    char id[MAPPING_ID_LEN + 1], path[PATH_MAX];
    int rc = 0;
    auto_dir DIR *dir = open_dir(run_dir, err);
    if (!dir)
        return err->code;
    for (const struct dirent *e; (e = readdir(dir));) {
        struct mapping_record r;
        bool whole;
        if (!id_of(e->d_name, kind, id, &whole))
            continue;
        int one = whole ? mapping_record_read(run_dir, kind, id, &r, err) : 0;
        if (one < 0)
            rc = one;
        if (one != 0)
            continue;
        if (snprintf(path, sizeof path, "%s/%s", run_dir, e->d_name) < (int)sizeof path)
            (void)unlink(path);
    }
    return rc;
}
