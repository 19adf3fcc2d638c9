/* SPDX-License-Identifier: MIT */
/* The grammar of volume names: [POOL/[NAMESPACE/]]IMAGE[@SIZE]. Pure. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "volume/settings.h"

struct volume_name {
    struct image_name image; /* pool "" when none was given; ns is the settings' unless given */
    uint64_t size;           /* bytes, from @SIZE (bare: MiB, as rbd-docker-plugin has it); 0: not given */
};

/* -EINVAL says which rule the name breaks. Nothing else may be done with a name that was not parsed. */
int name_parse(const struct settings *settings, const char *text, struct volume_name *ret, struct error *err);

/* Could this be the name of a volume, as it stands in a pool? (What List leaves out otherwise.) */
bool name_is_listable(const char *image);

/* 64 lower-case hexadecimal digits: Docker's name of an anonymous volume. */
bool name_is_anonymous(const char *image);
