/* SPDX-License-Identifier: MIT */
/* The mark of an image that is getting its name, from Create or from the remove policy `rename`: metadata
 * rbdvol.making. */
#pragma once

#include "base/error.h"
#include "base/imagename.h"
#include "ceph/image.h"

#define MAKING_KEY "rbdvol.making"

struct making {
    char final[NAME_PART_MAX + 1]; /* the name that it will have */
    char temp[NAME_PART_MAX + 1];  /* the name before: rbdvol.new.RANDOM, or that of a volume being removed */
    int64_t since;                 /* UNIX time */
};

/* The JSON text; the caller frees. */
char *making_encode(const struct making *m, const char *host, const char *boot_id);

/* -EINVAL: not one of ours. */
int making_decode(const char *text, struct making *ret);
