/* SPDX-License-Identifier: MIT */
/* Makes, renames, trashes and purges images, through librbd. */
#pragma once

#include "ceph/image.h"

/* What a new image looks like. */
struct image_layout {
    uint64_t size;         /* bytes */
    unsigned order;        /* log2 of the object size, 12 to 25; 0: the cluster's default */
    uint64_t features;     /* bits; always with exclusive-lock */
    const char *data_pool; /* "": the same pool */
};

#define IMAGE_FEATURES_DEFAULT 61 /* layering, exclusive-lock, object-map, fast-diff, deep-flatten */

/* "layering+exclusive-lock+object-map": names joined by '+', to bits. -EINVAL names the word and the known
 * ones. journaling is refused (krbd lacks it, and it doubles every write). */
int image_parse_features(const char *text, uint64_t *ret, struct error *err);

/* The names of the bits, joined by '+'. Returns buf. */
const char *image_feature_names(uint64_t features, char *buf, size_t size);

/* -EEXIST: the name is taken. A failure by time-out may have made it all the same: "unknown". */
int image_create(const struct place *p, const char *name, const struct image_layout *layout,
                 struct error *err);

/* Moves the image to the trash, to be kept for delay_s at least. Marks it first with rbdvol.trashed (time and
 * host), which image_purge_own looks for. -EBUSY: it has watchers or a lock owner, or snapshots in use.
 * -ENOENT: the image has not that name any more; should it be in the trash, it is marked. */
int image_trash(const struct place *p, const char *name, const char *id, const char *host, uint64_t delay_s,
                struct error *err);

/* One image in the trash that image_trash put there. */
struct image_trashed {
    bool deleting; /* somebody has begun to delete it: it cannot be restored any more */
    char id[IMAGE_ID_LEN + 1];
    char name[256];
    time_t moved, until; /* into it; and kept until */
};

/* Calls visit() with each of them. */
int image_trashed_each(const struct place *p, void (*visit)(void *arg, const struct image_trashed *one),
                       void *arg, struct error *err);

/* Takes an image out of the trash, under this name. -EEXIST: the name is taken. -ENODEV: it is not in the
 * trash. */
int image_restore(const struct place *p, const char *id, const char *name, struct error *err);

/* Takes back a removal of ours that was cut off, or that was never answered: the image leaves the trash under
 * the name that it had, whether it still has that or not. 1: so it was. 0: it is not in the trash, or
 * somebody else put it there; a mark of ours that it carries goes. -EEXIST: another image has the name by
 * now. With rbdvol.ctl held: a removal that is under way looks the same. */
int image_untrash(const struct place *p, const char *id, const char *name, struct error *err);

/* Calls visit() with each image that is in the trash by our doing and has its name all the same: its removal
 * was cut off. */
int image_half_trashed_each(const struct place *p, void (*visit)(void *arg, const struct image_trashed *one),
                            void *arg, struct error *err);

/* Deletes an image that is in the trash, whether its time is over or not. -EBUSY, also of the other two: it
 * is in the pool's directory all the same (its removal was cut off, and somebody may use it). */
int image_purge_now(const struct place *p, const char *id, struct error *err);

/* Deletes an image that is in the trash already. Long for a large one. */
int image_purge(const struct place *p, const char *id, struct error *err);

/* Has it snapshots? 1 yes, 0 no, or could not ask. */
int image_has_snapshots(const struct place *p, const char *id, struct error *err);

/* Deletes from the trash what image_trash put there and whose time is over. *left (may be NULL) is how many
 * stay whose time is over, or within a minute: one of this very second, one whose deletion was cut off and
 * which has the watch of who was killed in it. Errors of one entry do not stop the others; the first is
 * returned at the end. */
int image_purge_own(const struct place *p, unsigned *left, struct error *err);

/* Another client that has the image open for writing, this connection not counted: 1 (its address in addr), 0
 * none. */
int image_watcher(const struct place *p, const char *id, char *addr, size_t size, struct error *err);

#define IMAGE_WATCHERS_MAX 64

struct image_watchers {
    size_t n;
    char addresses[IMAGE_WATCHERS_MAX][80]; /* ip:port/nonce */
};

/* All clients that have the image open for writing, up to IMAGE_WATCHERS_MAX. */
int image_watchers(const struct place *p, const char *id, struct image_watchers *ret, struct error *err);

/* Is this client (ip:port/nonce) among the image's watchers? 1 yes, 0 no: with a managed lock that proves
 * that its watch has lapsed. */
int image_watched_by(const struct place *p, const char *id, const char *address, struct error *err);

/* Adds the feature exclusive-lock. The caller has made sure that nobody has the image open. */
int image_add_exclusive_lock(const struct place *p, const char *id, struct error *err);

/* Why the image must not be formatted although no file system was found: 0 it is blank (no parent, no
 * snapshot, not one data object), -ENOTEMPTY with the reason, or could not ask. */
int image_check_blank(const struct place *p, const char *id, struct error *err);
