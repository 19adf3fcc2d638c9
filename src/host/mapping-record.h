/* SPDX-License-Identifier: MIT */
/* RUN-DIR/MAPPING.KIND says, before an image is mapped, that the mapping is ours: neither the kernel nor
 * rbd-nbd keeps anything that would tell. */
#pragma once

#include "host/mapper.h"

struct mapping_record {
    char mapping[MAPPING_ID_LEN + 1];
    struct image_name name;
    char image_id[IMAGE_ID_MAX + 1];
    char fsid[40];   /* "": not known to the mapper */
    int64_t pool_id; /* together with fsid */
    bool ro;
};

/* kind: the mapper's name. */
int mapping_record_write(const char *run_dir, const char *kind, const struct mapping_record *r,
                         struct error *err);
void mapping_record_remove(const char *run_dir, const char *kind, const char *mapping);

/* 1: read; 0: there is none of this boot; negative: it could not be read (-EMFILE), so nobody knows. */
int mapping_record_read(const char *run_dir, const char *kind, const char *mapping,
                        struct mapping_record *ret, struct error *err);

/* Calls visit() with each record of this boot until it returns true. Negative: it never did, and not all of
 * them could be read. */
int mapping_record_each(const char *run_dir, const char *kind,
                        bool (*visit)(void *arg, const struct mapping_record *r), void *arg,
                        struct error *err);

/* At start, when nobody writes any: removes what another boot, or a write that was cut off, has left.
 * Negative: one could not be read, and stays. */
int mapping_record_sweep(const char *run_dir, const char *kind, struct error *err);
