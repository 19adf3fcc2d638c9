/* SPDX-License-Identifier: MIT */
/* What a later Mount on any host needs to know about a volume: the image's metadata rbdvol.spec. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/imagechange.h"
#include "volume/settings.h"

#define SPEC_KEY         "rbdvol.spec"
#define SPEC_VERSION     1
#define SPEC_OPTIONS_MAX 511
#define SPEC_WORDS_MAX   (SPEC_OPTIONS_MAX + 64) /* with those that follow from the rest of the spec */
#define SPEC_FROM_MAX    (IMAGE_NAME_MAX + 1 + SNAP_NAME_MAX)

struct spec {
    char fstype[16];
    char mkfs_options[SPEC_OPTIONS_MAX + 1];  /* words joined by '+' */
    char mount_options[SPEC_OPTIONS_MAX + 1]; /* words joined by '+' */
    uint32_t uid, gid, mode;                  /* of the root, set by the first Mount */
    enum sharing sharing;
    bool fresh;      /* the first Mount has not finished yet: lost+found, uid, gid and mode */
    bool formatting; /* an image made by others that held nothing is being formatted by us */
    bool adopt;      /* what file system is on it is not known: the first Mount takes what it finds */
    bool ro;         /* mounted read-only */
    bool snapshot;   /* with ro: nobody ever writes the image, so that many hosts may have it mounted */
    bool new_uuid;   /* a clone: its file system gets an identity of its own at the next Mount */
    char from[SPEC_FROM_MAX + 1];    /* what it is a clone of: "rbd/db@mon"; "" if it is none */
    char mapper[8];                  /* "": the host's choice */
    char remove[8];                  /* a remove policy's name; "": the host's */
    char encrypt[NAME_PART_MAX + 1]; /* the name of its passphrase in key-dir; "": it is not encrypted */
    uint64_t qos_iops, qos_bps;      /* limits of its I/O, per second; 0: none */
    json_t *unknown; /* members that this version does not know: written back as they were. NULL: none */
};
#define auto_spec CLEANUP(spec_done)

/* The defaults of this host for a new volume. */
void spec_default(const struct settings *settings, struct spec *ret);

/* -EINVAL: not a spec, or a value that this program would never have written (another program, or a hostile
 * tenant, may have): options and file system are checked as when they were given. -EPROTONOSUPPORT: made by a
 * newer major version. */
int spec_decode(const char *text, struct spec *ret, struct error *err);

/* The JSON text; the caller frees. */
char *spec_encode(const struct spec *spec);

void spec_done(struct spec *spec);

/* The mount options as mount(2)'s comma-separated words, with those that ro, snapshot and new_uuid ask for,
 * and with nodev, nosuid and noexec where this host's own options (`host`) have them: an image that others
 * can write, its spec included, brings no devices and no setuid programs to a host that wants none. Returns
 * buf. */
const char *spec_mount_words(const struct spec *spec, const char *host, char buf[static SPEC_WORDS_MAX + 1]);

/* The word among these ("dev", "suid", "exec") that the host's own options forbid; NULL: none. */
const char *spec_forbidden_word(const char *words, const char *host);

/* Is this the name of a mapper, or auto? */
bool spec_is_mapper(const char *name);

/* "trash", "delete", "rename", "ignore": a remove policy by its name (false: it is none), and its name. */
bool spec_remove_policy(const char *name, enum remove_policy *ret);
const char *spec_remove_name(enum remove_policy policy);
