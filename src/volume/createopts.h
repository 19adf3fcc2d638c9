/* SPDX-License-Identifier: MIT */
/* The -o options of Create: read, checked against the rules and the host's settings. */
#pragma once

#include <jansson.h>

#include "ceph/imageadmin.h"
#include "volume/name.h"
#include "volume/spec.h"

/* Which options were given: those are compared with an image that exists already. */
enum createopts_given {
    GIVEN_SIZE = 1 << 0,
    GIVEN_FSTYPE = 1 << 1,
    GIVEN_MKFS = 1 << 2,
    GIVEN_MOUNT = 1 << 3,
    GIVEN_UID = 1 << 4,
    GIVEN_GID = 1 << 5,
    GIVEN_MODE = 1 << 6,
    GIVEN_SHARING = 1 << 7,
    GIVEN_OBJECT_SIZE = 1 << 8,
    GIVEN_FEATURES = 1 << 9,
    GIVEN_DATA_POOL = 1 << 10,
    GIVEN_RO = 1 << 11,
    GIVEN_FROM = 1 << 12,
    GIVEN_MAPPER = 1 << 13,
    GIVEN_QOS_IOPS = 1 << 14,
    GIVEN_QOS_BPS = 1 << 15,
    GIVEN_REMOVE = 1 << 16,
    GIVEN_ENCRYPT = 1 << 17,

    /* what can be noted for an image that others made: it is mounted so from then on */
    GIVEN_NOTABLE = GIVEN_MOUNT | GIVEN_SHARING | GIVEN_RO | GIVEN_MAPPER | GIVEN_QOS_IOPS | GIVEN_QOS_BPS |
                    GIVEN_REMOVE | GIVEN_ENCRYPT,
};

struct createopts {
    struct volume_name name; /* with the pool and namespace options applied */
    unsigned given;
    struct image_layout layout; /* data_pool points into data_pool below */
    struct spec spec;           /* fresh is set */
    char data_pool[NAME_PART_MAX + 1];
    struct volume_name from;      /* with GIVEN_FROM: the volume that it is to be a clone of */
    char snap[SNAP_NAME_MAX + 1]; /* and its snapshot; "": as it is now */
};

/* opts may be NULL, null or {}: no options. -EINVAL names the option and the rule; two spellings of one
 * option that contradict each other with both. On success spec is to be freed with spec_done. */
int createopts_parse(const struct settings *settings, const struct volume_name *name, const json_t *opts,
                     struct createopts *ret, struct error *err);

/* Can an image be made so? Its size and the words for mkfs and mount are checked against its file system and
 * the host's max-size: for an image that exists already they would be held against defaults that are not its
 * own. -EINVAL names the option and the rule. */
int createopts_check_new(const struct settings *settings, struct createopts *o, struct error *err);

/* Would these options make what is there already? An image of at least the size asked for, and the same in
 * all that was given. data_pool is the image's ("": none of its own), looked at only when one was asked for.
 * spec may be NULL: the image is not one of ours, so only its size and layout can be compared. -EEXIST: names
 * the contradiction and the way out. */
int createopts_match(const struct createopts *asked, const struct image_header *image, const char *data_pool,
                     const struct spec *spec, struct error *err);

/* A size as people write it, in bytes. -EINVAL: it is none, or a bare number that was surely meant in GiB. */
int createopts_size(const struct settings *settings, const char *value, uint64_t *ret, struct error *err);

/* Can the mapper that is asked for do what else the spec says? -EINVAL: it cannot limit, decrypt, or map a
 * snapshot. */
int createopts_check_mapper(const struct spec *spec, struct error *err);

/* -EINVAL: more than the host's max-size. */
int createopts_check_max(const struct settings *settings, uint64_t size, struct error *err);
