/* SPDX-License-Identifier: MIT */
/* The kernel's rbd driver, as it shows itself below /sys/bus/rbd (Linux:
 * Documentation/ABI/testing/sysfs-bus-rbd). `root` is that directory; another one in tests. Private to the
 * krbd mapper. */
#pragma once

#include "host/mapper.h"

#define KRBD_SYSFS    "/sys/bus/rbd"
#define KRBD_LINE_MAX 4000 /* one page, which is all that a write to sysfs may have */

/* ---- what the driver shows (krbd-sysfs.c) ---- */

/* A mapping, whoever made it. */
struct krbd_device {
    unsigned number; /* N of /dev/rbdN */
    unsigned major, minor;
    char fsid[40];
    int64_t pool_id;
    char ns[NAME_PART_MAX + 1];
    char image_id[IMAGE_ID_MAX + 1];
    char snap[NAME_PART_MAX + 1]; /* "-": the image itself */
    char address[ADDRESS_MAX];    /* of its client: as a lock's owner, and as blocklist entries name it */
};

/* 0; -ENODEV: there is no mapping of this number (any more); others: could not look (-EMFILE). */
int krbd_read(const char *root, unsigned number, struct krbd_device *ret);

/* The mapping of this image itself (not of a snapshot). By its ids, since names change. 1: found; 0:
 * none; negative: could not look. */
int krbd_find(const char *root, const char *fsid, int64_t pool_id, const char *ns, const char *image_id,
              struct krbd_device *ret);

/* Can this kernel map images with these features? -ENODEV: the driver is not there. -EOPNOTSUPP: names what
 * it lacks, and the command that takes it from the image where there is one. name may be NULL with no
 * features. */
int krbd_check(const char *root, const struct image_name *name, uint64_t features, struct error *err);

/* ---- the line that maps (krbd-line.c) ---- */

enum krbd_protocol { KRBD_V2, KRBD_V1 };

struct krbd_line {
    const char *user; /* without "client." */
    const struct mapper_image *image;
    int lock_timeout, mount_timeout; /* seconds */
    const char *map_options;
    enum krbd_protocol protocol;
};

/* Is this a word of map-options ("queue_depth=128") that krbd takes, and that does not undo what the line
 * stands for? */
bool krbd_takes_option(const char *word);

/* "MONITORS OPTIONS POOL IMAGE -". -EINVAL: something in it would not be what it is taken for.
 * -EPROTONOSUPPORT: the monitors have no addresses of this protocol. */
int krbd_line_make(const struct krbd_line *l, char buf[static KRBD_LINE_MAX], struct error *err);

/* ---- writing to it (krbd-write.c) ---- */

/* What a helper says beside the write's errno. */
#define KRBD_EXIT_KEY 250 /* the kernel did not take the key */

struct krbd_write {
    const char *mapping;     /* its id, which stands in the helper's argv meanwhile */
    const char *file, *text; /* below KRBD_SYSFS */
    const char *key_name;    /* NULL: no key */
    const unsigned char *key;
    size_t key_len;
};

/* A write that may hang in the kernel, done by a helper (host/device.h). The key is put into the helper's own
 * keyring first, where the kernel finds it. Returns 0 or the write's errno. -ENOKEY: the kernel did not take
 * the key. -ETIMEDOUT: the helper was killed; whether it has left the kernel tells krbd_writer(). */
int krbd_write(const struct krbd_write *w, moment deadline, struct error *err);

/* The helper that writes for this mapping, of this daemon or one before it. 1: *ret; 0: there is none;
 * negative: could not look, or (-EAGAIN) one hangs that does not show what it does; *ret is 0. ret may be
 * NULL. */
int krbd_writer(const char *mapping, pid_t *ret);
