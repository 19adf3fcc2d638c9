/* SPDX-License-Identifier: MIT */
#include "volume/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "host/fs.h"

static const char *const known[] = { "version", "fstype",   "mkfs-options", "mount-options", "uid",
                                     "gid",     "mode",     "sharing",      "fresh",         "formatting",
                                     "adopt",   "ro",       "snapshot",     "new-uuid",      "from",
                                     "mapper",  "qos-iops", "qos-bps",      "remove",        "encrypt" };

bool spec_is_mapper(const char *name)
{
    static const char *const names[] = { "auto", "krbd", "nbd", "fuse" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static const char *const remove_names[] = { [REMOVE_TRASH] = "trash",
                                            [REMOVE_DELETE] = "delete",
                                            [REMOVE_RENAME] = "rename",
                                            [REMOVE_IGNORE] = "ignore" };

bool spec_remove_policy(const char *name, enum remove_policy *ret)
{
    for (size_t i = 0; i < sizeof remove_names / sizeof *remove_names; i++)
        if (strcmp(remove_names[i], name) == 0) {
            *ret = (enum remove_policy)i;
            return true;
        }
    return false;
}

const char *spec_remove_name(enum remove_policy policy)
{
    return remove_names[policy];
}

static void join_with_plus(char *options)
{
    for (char *p = options; *p; p++)
        if (*p == ',')
            *p = '+';
}

void spec_default(const struct settings *settings, struct spec *ret)
{
    *ret = (struct spec){
        .uid = settings->uid, .gid = settings->gid, .mode = settings->mode, .sharing = settings->sharing
    };
    (void)snprintf(ret->fstype, sizeof ret->fstype, "%s", settings->fstype);
    (void)snprintf(ret->mkfs_options, sizeof ret->mkfs_options, "%s", settings->mkfs_options);
    (void)snprintf(ret->mount_options, sizeof ret->mount_options, "%s", settings->mount_options);
    join_with_plus(ret->mkfs_options);
    join_with_plus(ret->mount_options);
}

static int take_text(const json_t *in, const char *key, char *to, size_t size, struct error *err)
{
    const json_t *value = json_object_get(in, key);
    if (!value)
        return 0;
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) != strlen(text) || strlen(text) >= size)
        return error_set(err, -EINVAL, "'%s' is no text, or too long", key);
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

static int take_number(const json_t *in, const char *key, uint32_t max, uint32_t *to, struct error *err)
{
    const json_t *value = json_object_get(in, key);
    if (!value)
        return 0;
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || n > (json_int_t)max)
        return error_set(err, -EINVAL, "'%s' is no number from 0 to %u", key, max);
    *to = (uint32_t)n;
    return 0;
}

static int take_flag(const json_t *in, const char *key, bool *to, struct error *err)
{
    const json_t *value = json_object_get(in, key);
    if (value && !json_is_boolean(value))
        return error_set(err, -EINVAL, "'%s' is neither true nor false", key);
    *to = json_is_true(value);
    return 0;
}

static int take_limit(const json_t *in, const char *key, uint64_t *to, struct error *err)
{
    const json_t *value = json_object_get(in, key);
    json_int_t n = json_integer_value(value);
    if (value && (!json_is_integer(value) || n < 0))
        return error_set(err, -EINVAL, "'%s' is no number", key);
    *to = (uint64_t)n;
    return 0;
}

/* What it names must be something that this program knows. */
static int check_names(const struct spec *s, struct error *err)
{
    enum remove_policy policy;
    if (s->mapper[0] && !spec_is_mapper(s->mapper))
        return error_set(err, -EINVAL, "mapper '%s' is not one of auto, krbd, nbd, fuse", s->mapper);
    if (s->encrypt[0] && !text_is_name(s->encrypt))
        return error_set(err, -EINVAL, "encrypt '%s' is no name of a key", s->encrypt);
    if (s->remove[0] && !spec_remove_policy(s->remove, &policy))
        return error_set(err, -EINVAL, "remove '%s' is not one of trash, delete, rename, ignore", s->remove);
    return 0;
}

/* What only some volumes have. */
static int take_rest(const json_t *in, struct spec *s, struct error *err)
{
    int rc = take_flag(in, "adopt", &s->adopt, err);
    if (rc == 0)
        rc = take_flag(in, "ro", &s->ro, err);
    if (rc == 0)
        rc = take_flag(in, "snapshot", &s->snapshot, err);
    if (rc == 0)
        rc = take_flag(in, "new-uuid", &s->new_uuid, err);
    if (rc == 0)
        rc = take_text(in, "from", s->from, sizeof s->from, err);
    if (rc == 0)
        rc = take_text(in, "mapper", s->mapper, sizeof s->mapper, err);
    if (rc == 0)
        rc = take_limit(in, "qos-iops", &s->qos_iops, err);
    if (rc == 0)
        rc = take_limit(in, "qos-bps", &s->qos_bps, err);
    if (rc == 0)
        rc = take_text(in, "remove", s->remove, sizeof s->remove, err);
    if (rc == 0)
        rc = take_text(in, "encrypt", s->encrypt, sizeof s->encrypt, err);
    if (rc == 0)
        rc = check_names(s, err);
    if (rc == 0 && s->snapshot && !s->ro)
        return error_set(err, -EINVAL, "it is a snapshot, but not read-only");
    return rc;
}

/* Keeps what this version does not know. */
static json_t *unknown_of(json_t *in)
{
    json_t *rest = json_deep_copy(in);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        json_object_del(rest, known[i]);
    if (json_object_size(rest) == 0) {
        json_decref(rest);
        return NULL;
    }
    return rest;
}

static int decode_members(json_t *in, struct spec *s, struct error *err)
{
    char sharing[16] = "exclusive";
    int rc = take_text(in, "fstype", s->fstype, sizeof s->fstype, err);
    if (rc == 0)
        rc = take_text(in, "mkfs-options", s->mkfs_options, sizeof s->mkfs_options, err);
    if (rc == 0)
        rc = take_text(in, "mount-options", s->mount_options, sizeof s->mount_options, err);
    if (rc == 0)
        rc = take_text(in, "sharing", sharing, sizeof sharing, err);
    if (rc == 0)
        rc = take_number(in, "uid", UINT32_MAX - 1, &s->uid, err);
    if (rc == 0)
        rc = take_number(in, "gid", UINT32_MAX - 1, &s->gid, err);
    if (rc == 0)
        rc = take_number(in, "mode", 07777, &s->mode, err);
    if (rc == 0)
        rc = take_flag(in, "fresh", &s->fresh, err);
    if (rc == 0)
        rc = take_flag(in, "formatting", &s->formatting, err);
    if (rc == 0)
        rc = take_rest(in, s, err);
    if (rc < 0)
        return rc;
    const struct fs *fs = fs_find(s->fstype);
    if (!fs)
        return error_set(err, -EINVAL, "fstype '%s' is not one of %s", s->fstype, fs_names());
    if (strcmp(sharing, "exclusive") != 0 && strcmp(sharing, "host") != 0)
        return error_set(err, -EINVAL, "sharing '%s' is neither exclusive nor host", sharing);
    s->sharing = strcmp(sharing, "host") == 0 ? SHARING_HOST : SHARING_EXCLUSIVE;
    rc = fs_check_mkfs_options(fs, s->mkfs_options, err);
    return rc < 0 ? rc : fs_check_mount_options(fs, s->mount_options, err);
}

int spec_decode(const char *text, struct spec *ret, struct error *err)
{
    struct spec s = { .mode = 0755 };
    json_auto_t *in = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(in))
        return error_set(err, -EINVAL, "the image's metadata " SPEC_KEY " is no JSON object");
    const json_t *version = json_object_get(in, "version");
    if (!json_is_integer(version) || json_integer_value(version) < 1)
        return error_set(err, -EINVAL, "the image's metadata " SPEC_KEY " has no version");
    if (json_integer_value(version) > SPEC_VERSION)
        return error_set(err, -EPROTONOSUPPORT,
                         "the volume was made by a newer rbdvol (" SPEC_KEY
                         " version %lld, this one knows %d); update "
                         "rbdvol on this host",
                         (long long)json_integer_value(version), SPEC_VERSION);
    int rc = decode_members(in, &s, err);
    if (rc < 0)
        return error_prefix(err, "the image's metadata " SPEC_KEY " cannot be used");
    s.unknown = unknown_of(in);
    *ret = s;
    return 0;
}

static void set_flag(json_t *out, const char *key, bool value)
{
    if (value)
        json_object_set_new(out, key, json_true());
}

/* Absent where there is nothing to say, so that an older version finds nothing that it does not know. */
static void encode_rest(const struct spec *s, json_t *out)
{
    set_flag(out, "formatting", s->formatting);
    set_flag(out, "adopt", s->adopt);
    set_flag(out, "ro", s->ro);
    set_flag(out, "snapshot", s->snapshot);
    set_flag(out, "new-uuid", s->new_uuid);
    if (s->from[0])
        json_object_set_new(out, "from", json_string(s->from));
    if (s->mapper[0])
        json_object_set_new(out, "mapper", json_string(s->mapper));
    if (s->qos_iops)
        json_object_set_new(out, "qos-iops", json_integer((json_int_t)s->qos_iops));
    if (s->qos_bps)
        json_object_set_new(out, "qos-bps", json_integer((json_int_t)s->qos_bps));
    if (s->remove[0])
        json_object_set_new(out, "remove", json_string(s->remove));
    if (s->encrypt[0])
        json_object_set_new(out, "encrypt", json_string(s->encrypt));
}

char *spec_encode(const struct spec *s)
{
    json_auto_t *out = s->unknown ? json_deep_copy(s->unknown) : json_object();
    json_object_set_new(out, "version", json_integer(SPEC_VERSION));
    json_object_set_new(out, "fstype", json_string(s->fstype));
    json_object_set_new(out, "mkfs-options", json_string(s->mkfs_options));
    json_object_set_new(out, "mount-options", json_string(s->mount_options));
    json_object_set_new(out, "uid", json_integer(s->uid));
    json_object_set_new(out, "gid", json_integer(s->gid));
    json_object_set_new(out, "mode", json_integer(s->mode));
    json_object_set_new(out, "sharing", json_string(s->sharing == SHARING_HOST ? "host" : "exclusive"));
    json_object_set_new(out, "fresh", json_boolean(s->fresh));
    encode_rest(s, out);
    char *text = json_dumps(out, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        abort();
    return text;
}

void spec_done(struct spec *spec)
{
    json_decref(spec->unknown);
    *spec = (struct spec){ 0 };
}

/* A snapshot's journal cannot be replayed, and its identity is that of what it was taken of, which this host
 * may have mounted, too. */
static const char *words_of_snapshot(const char *fstype)
{
    return strcmp(fstype, "xfs") == 0    ? ",ro,norecovery,nouuid"
           : strcmp(fstype, "ext4") == 0 ? ",ro,noload"
                                         : ",ro,rescue=nologreplay";
}

static const struct guard {
    const char *word, *opposite;
} guards[] = { { "nodev", "dev" }, { "nosuid", "suid" }, { "noexec", "exec" } };
#define NGUARDS (sizeof guards / sizeof *guards)

/* 1: the word is in force, -1: its opposite is (the last of them counts), 0: neither is said. */
static int in_force(const struct guard *g, const char *words)
{
    int found = 0;
    for (size_t len; *words; words += len + (words[len] != '\0')) {
        len = strcspn(words, "+,");
        if (len == strlen(g->word) && strncmp(words, g->word, len) == 0)
            found = 1;
        if (len == strlen(g->opposite) && strncmp(words, g->opposite, len) == 0)
            found = -1;
    }
    return found;
}

const char *spec_forbidden_word(const char *words, const char *host)
{
    for (size_t i = 0; i < NGUARDS; i++)
        if (in_force(&guards[i], host) > 0 && in_force(&guards[i], words) < 0)
            return guards[i].opposite;
    return NULL;
}

/* What the host has, and the words do not: at the end, where it counts. */
static void add_guards(const char *host, char buf[static SPEC_WORDS_MAX + 1])
{
    for (size_t i = 0; i < NGUARDS; i++) {
        size_t at = strlen(buf);
        if (in_force(&guards[i], host) > 0 && in_force(&guards[i], buf) <= 0)
            (void)snprintf(buf + at, SPEC_WORDS_MAX + 1 - at, "%s%s", at ? "," : "", guards[i].word);
    }
}

const char *spec_mount_words(const struct spec *spec, const char *host, char buf[static SPEC_WORDS_MAX + 1])
{
    const char *more = spec->snapshot                                       ? words_of_snapshot(spec->fstype)
                       : spec->new_uuid && strcmp(spec->fstype, "xfs") == 0 ? ",nouuid"
                                                                            : "";
    (void)snprintf(buf, SPEC_WORDS_MAX + 1, "%s%s%s", spec->mount_options, more,
                   spec->ro && !spec->snapshot ? ",ro" : "");
    for (char *p = buf; *p; p++)
        if (*p == '+')
            *p = ',';
    if (buf[0] == ',')
        memmove(buf, buf + 1, strlen(buf));
    add_guards(host, buf);
    return buf;
}
