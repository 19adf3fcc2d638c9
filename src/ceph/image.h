/* SPDX-License-Identifier: MIT */
/* Finds images and reads what their header says, without opening them: no watch, no lock, two or three small
 * reads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "ceph/cluster.h"

#define IMAGE_ID_LEN   64
#define IMAGE_META_MAX 65536     /* bytes of one metadata value of ours: what is longer is refused */
#define IMAGE_TEMP     "rbdvol." /* image names that begin so are ours */
#define IMAGE_TEMP_NEW "rbdvol.new."

/* The pool's directory and the object rbd_id.NAME must agree for an image to exist: rbd_rename and rbd_remove
 * are several writes, and may have been killed between them (seen with 16.2.15). 0: *id is filled.
 * -ENOENT: the cluster says that there is no such image. -EUCLEAN: a rename or removal of it was interrupted
 * (image_finish_rename may help); *id is then what one of the two says, "" when they differ,
 * and untouched when they cannot be read. Others: could not ask. */
int image_find(const struct place *p, const char *name, char id[static IMAGE_ID_LEN + 1], struct error *err);

/* The same in two halves: both questions are on their way when the first returns, and the second waits for
 * their answers. What begins must end; place and name must stay until then. */
struct image_search;
struct image_search *image_search_begin(const struct place *p, const char *name);
int image_search_end(struct image_search *search, char id[static IMAGE_ID_LEN + 1], struct error *err);

/* What rbd_id.NAME alone says: 0, -ENOENT, or could not ask. */
int image_id_object(const struct place *p, const char *name, char id[static IMAGE_ID_LEN + 1],
                    struct error *err);

/* The name under which the directory lists this id: 0, -ENOENT, or could not ask. name holds 256 bytes. */
int image_name_of(const struct place *p, const char *id, char *name, size_t size, struct error *err);

/* Gives image id, listed as `from`, the name `to`: what rbd_rename does, in its order, but with an exclusive
 * first write, so that of two hosts which take one name at the same time exactly one gets it (with rbd_rename
 * both may: seen with 16.2.15). -EEXIST: the name is taken. -ENOENT: the image is listed under neither name
 * any more, and has got none. After any other error the caller looks which of the two names the image has. */
int image_rename(const struct place *p, const char *from, const char *to, const char *id, struct error *err);

/* Finishes the rename of `temp` to `name` of image id that was killed after its first or second write. The
 * caller knows by the image's own mark (metadata rbdvol.making) that the rename was ours and meant. Harmless
 * while the renaming process is still at it. -ENOENT: it is listed under neither any more. */
int image_finish_rename(const struct place *p, const char *temp, const char *name, const char *id,
                        struct error *err);

/* Names whose image has no header: `rbd rm` takes the header away first and the names last, `rbd create`
 * makes the directory's entry first, then rbd_id.NAME, the header last. So the age of rbd_id.NAME tells what
 * was interrupted from what is being made. */

/* Seconds since rbd_id.NAME was written: by the clock of the client that wrote it, until now by the
 * monitors'. -ENOENT: it is not there. */
int image_name_age(const struct place *p, const char *name, int64_t *ret, struct error *err);

/* Takes the name of image id, which has no header, out of the pool: the object rbd_id.NAME, then the
 * directory's entry, each only while it is of this id. Deletes no data, whatever else may have happened
 * meanwhile. Where rbd_id.NAME is not there it is made first: who is still making the image must be the one
 * to do that, and so ends there. -EEXIST: it is another image's by now. */
int image_drop_name(const struct place *p, const char *name, const char *id, struct error *err);

#define IMAGE_FEATURE_LAYERING       (1ULL << 0)
#define IMAGE_FEATURE_EXCLUSIVE_LOCK (1ULL << 2)

struct image_header {
    uint64_t size; /* bytes */
    uint8_t order; /* log2 of the object size */
    uint64_t features;
    time_t created; /* 0: unknown */
    char *spec;     /* metadata rbdvol.spec, NULL: not there */
    char *making;   /* metadata rbdvol.making, NULL: not there */
    char *rolling;  /* metadata rbdvol.rolling, NULL: not there */
    bool growing;   /* there is metadata rbdvol.growing */
    bool trashed;   /* there is metadata rbdvol.trashed */
    char *danger;   /* a metadata key that would undo our safety (conf_rbd_cache*, conf_rbd_blocklist*), NULL:
                       none */
};
#define auto_header CLEANUP(image_header_done)

/* One read of rbd_header.ID. -ENOENT: there is no such header (removed meanwhile). */
int image_read_header(const struct place *p, const char *id, struct image_header *ret, struct error *err);
void image_header_done(struct image_header *h);

/* The pool of the image's data objects, when that is another than the image's own; "" otherwise. -ENOENT:
 * there is no such header. pool holds 256 bytes. */
int image_data_pool(const struct place *p, const char *id, char *pool, size_t size, struct error *err);

/* Sets one metadata value on the header object as librbd would (omap key metadata_KEY), but without opening
 * the image: no lock, no notification, which takes 5 s while a dead watcher is about, and works while krbd
 * holds the image exclusively. Only for keys that no mapper reads. The header must exist (-ENOENT). value
 * NULL removes the key. */
int image_set_meta(const struct place *p, const char *id, const char *key, const char *value,
                   struct error *err);

/* The same, if the value is `from` until then (to NULL: removes the key). 1: it was; 0: it was another, or
 * there was none (or no such image). */
int image_swap_meta(const struct place *p, const char *id, const char *key, const char *from, const char *to,
                    struct error *err);

/* Reads one metadata value: 1 *ret is filled (the caller frees), 0 there is none (or no such image), or could
 * not ask. What is longer than IMAGE_META_MAX, or has a NUL in it, counts as none. */
int image_get_meta(const struct place *p, const char *id, const char *key, char **ret, struct error *err);

/* Calls visit() with each image of the pool's directory; one listing, nothing is opened. id is "" for format
 * 1 images. */
int image_list(const struct place *p, void (*visit)(void *arg, const char *name, const char *id), void *arg,
               struct error *err);

/* The header object's name: "rbd_header.ID". Returns buf. */
const char *image_header_object(const char *id, char buf[static IMAGE_ID_LEN + 16]);
