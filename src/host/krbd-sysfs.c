/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "host/krbd.h"

/* An attribute of a device. -ENODEV: not there; others: could not look. */
static int attribute(const char *root, unsigned number, const char *name, char *buf, size_t size)
{
    char path[PATH_MAX];
    struct error ignored;
    (void)snprintf(path, sizeof path, "%s/devices/%u/%s", root, number, name);
    int rc = file_read_line(path, buf, size, &ignored);
    return rc < 0 && !file_was_not_read(rc) ? -ENODEV : rc;
}

static int attribute_number(const char *root, unsigned number, const char *name, long long *ret)
{
    char text[32], *end;
    int rc = attribute(root, number, name, text, sizeof text);
    if (rc < 0)
        return rc;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < 0)
        return -ENODEV;
    *ret = n;
    return 0;
}

int krbd_read(const char *root, unsigned number, struct krbd_device *ret)
{
    struct krbd_device d = { .number = number };
    long long major, minor, pool;
    int rc;
    if ((rc = attribute_number(root, number, "major", &major)) < 0 ||
        (rc = attribute_number(root, number, "minor", &minor)) < 0 ||
        (rc = attribute_number(root, number, "pool_id", &pool)) < 0 ||
        (rc = attribute(root, number, "cluster_fsid", d.fsid, sizeof d.fsid)) < 0 ||
        (rc = attribute(root, number, "image_id", d.image_id, sizeof d.image_id)) < 0 ||
        (rc = attribute(root, number, "current_snap", d.snap, sizeof d.snap)) < 0 ||
        (rc = attribute(root, number, "client_addr", d.address, sizeof d.address)) < 0)
        return rc;
    /* Kernels before 4.19 know no namespaces, and have no such file. */
    rc = attribute(root, number, "pool_ns", d.ns, sizeof d.ns);
    if (rc < 0 && rc != -ENODEV)
        return rc;
    if (rc < 0)
        d.ns[0] = '\0';
    d.major = (unsigned)major;
    d.minor = (unsigned)minor;
    d.pool_id = pool;
    *ret = d;
    return 0;
}

int krbd_find(const char *root, const char *fsid, int64_t pool_id, const char *ns, const char *image_id,
              struct krbd_device *ret)
{
    char path[PATH_MAX];
    int unseen = 0; /* why one could not be looked at */
    (void)snprintf(path, sizeof path, "%s/devices", root);
    auto_dir DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? 0 : -errno; /* no driver */
    for (const struct dirent *e; (e = readdir(dir));) {
        struct krbd_device d;
        uint32_t number;
        if (text_parse_u32(e->d_name, UINT32_MAX, &number) < 0)
            continue;
        int rc = krbd_read(root, number, &d);
        if (rc < 0 && rc != -ENODEV)
            unseen = rc;
        if (rc < 0)
            continue;
        if (strcmp(d.fsid, fsid) == 0 && d.pool_id == pool_id && strcmp(d.ns, ns) == 0 &&
            strcmp(d.image_id, image_id) == 0 && strcmp(d.snap, "-") == 0) {
            *ret = d;
            return 1;
        }
    }
    return unseen;
}

/* Bits of an image's features (librbd's rbd/features.h), in its order. */
static const struct feature {
    uint64_t bit;
    const char *name;
    bool removable; /* `rbd feature disable` takes it */
} features_known[] = {
    { 1 << 6, "journaling", true },   { 1 << 4, "fast-diff", true },      { 1 << 3, "object-map", true },
    { 1 << 5, "deep-flatten", true }, { 1 << 2, "exclusive-lock", true }, { 1 << 0, "layering", false },
    { 1 << 1, "striping", false },    { 1 << 7, "data-pool", false },     { 1 << 8, "operations", false },
    { 1 << 9, "migrating", false },   { 1 << 10, "non-primary", false },
};

/* " journaling object-map": the named ones among these bits. Returns whether all of them can be removed. */
static bool feature_words(uint64_t bits, char *buf, size_t size)
{
    size_t at = 0;
    bool removable = true;
    buf[0] = '\0';
    for (size_t i = 0; i < sizeof features_known / sizeof *features_known; i++) {
        const struct feature *f = &features_known[i];
        if (!(bits & f->bit) || at >= size)
            continue;
        at += (size_t)snprintf(buf + at, size - at, " %s", f->name);
        removable = removable && f->removable;
        bits &= ~f->bit;
    }
    if (bits && at < size)
        (void)snprintf(buf + at, size - at, " %#llx", (unsigned long long)bits);
    return removable && !bits;
}

/* fast-diff stands on object-map, which, like journaling, stands on exclusive-lock. */
static uint64_t with_dependents(uint64_t missing, uint64_t has)
{
    if (missing & 1 << 2)
        missing |= has & (1 << 3 | 1 << 6);
    if (missing & 1 << 3)
        missing |= has & 1 << 4;
    return missing;
}

static int check_features(const char *root, const struct image_name *name, uint64_t features,
                          struct error *err)
{
    char path[PATH_MAX], text[32], words[256], full[IMAGE_NAME_MAX + 1];
    struct error ignored;
    (void)snprintf(path, sizeof path, "%s/supported_features", root);
    if (file_read_line(path, text, sizeof text, &ignored) < 0)
        return 0; /* before 4.11: mapping tells */
    uint64_t missing = features & ~(uint64_t)strtoull(text, NULL, 16);
    if (!missing)
        return 0;
    if (!feature_words(with_dependents(missing, features), words, sizeof words))
        return error_set(err, -EOPNOTSUPP, "this kernel cannot map images with the features%s", words);
    return error_set(err, -EOPNOTSUPP,
                     "this kernel cannot map images with the features%s; `rbd feature disable %s%s` takes "
                     "them away",
                     words, image_name_full(name, full), words);
}

int krbd_check(const char *root, const struct image_name *name, uint64_t features, struct error *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/add_single_major", root);
    if (access(path, F_OK) < 0)
        (void)snprintf(path, sizeof path, "%s/add", root);
    if (access(path, F_OK) < 0)
        return error_set(err, -ENODEV,
                         "the kernel's rbd driver is not loaded (`modprobe rbd`; at each boot: "
                         "`systemctl enable modprobe@rbd`, or a line `rbd` in /etc/modules-load.d)");
    if (access(path, W_OK) < 0)
        return error_set(err, -ENODEV, "%s cannot be written here: %s", path, error_text(errno));
    return features ? check_features(root, name, features, err) : 0;
}
