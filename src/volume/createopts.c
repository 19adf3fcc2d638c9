/* SPDX-License-Identifier: MIT */
#include "volume/createopts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "host/fs.h"

#define MIB           (1ULL << 20)
#define BARE_SIZE_MIN 1024 /* a bare size below it was surely meant in GiB */
#define LUKS_HEADER   (16 * MIB)
#define OBJECT_MIN    4096ULL
#define OBJECT_MAX    (32 * MIB)

struct parse {
    const struct settings *settings;
    struct createopts *to;
    const char **spelled; /* for each option of the table below, how it was spelled; NULL: not given */
};

typedef int parse_fn(struct parse *p, const char *value, struct error *err);

static int bad(struct error *err, const char *option, const char *value, const char *rule)
{
    return error_set(err, -EINVAL, "option %s: '%.80s' %s", option, value, rule);
}

int createopts_size(const struct settings *settings, const char *value, uint64_t *ret, struct error *err)
{
    uint64_t unit = settings->size_unit, n;
    if (text_parse_size(value, unit ? unit : MIB, &n) < 0)
        return error_set(err, -EINVAL,
                         "'%.80s' is not a size: write a whole number with K, M, G or T, such as 20G", value);
    if (!unit && value[strspn(value, "0123456789")] == '\0' && n < BARE_SIZE_MIN * MIB)
        return error_set(err, -EINVAL, "a bare '%s' could mean MiB or GiB: write %sM or %sG", value, value,
                         value);
    *ret = n;
    return 0;
}

int createopts_check_max(const struct settings *settings, uint64_t size, struct error *err)
{
    char asked[32], max[32];
    return settings->max_size && size > settings->max_size
               ? error_set(err, -EINVAL, "%s is more than max-size %s of this host", text_size(size, asked),
                           text_size(settings->max_size, max))
               : 0;
}

static int parse_size(struct parse *p, const char *value, struct error *err)
{
    if (createopts_size(p->settings, value, &p->to->layout.size, err) < 0)
        return error_prefix(err, "option size");
    p->to->given |= GIVEN_SIZE;
    return 0;
}

static int parse_place(struct parse *p, const char *option, const char *value, char *to, bool in_name,
                       struct error *err)
{
    if (!text_is_name(value))
        return bad(err, option, value,
                   "is not a name: letters, digits, '_', '.' and '-', beginning with a letter or digit, at "
                   "most 128");
    if (in_name && strcmp(to, value) != 0)
        return error_set(err, -EINVAL, "option %s: '%s' contradicts the volume's name, which says '%s'",
                         option, value, to);
    memcpy(to, value, strlen(value) + 1);
    (void)p;
    return 0;
}

static int parse_pool(struct parse *p, const char *value, struct error *err)
{
    char *pool = p->to->name.image.pool;
    return parse_place(p, "pool", value, pool, pool[0] != '\0', err);
}

static int parse_namespace(struct parse *p, const char *value, struct error *err)
{
    char *ns = p->to->name.image.ns;
    /* Given in the name when it is not what every name gets. */
    return parse_place(p, "namespace", value, ns, strcmp(ns, p->settings->ns) != 0, err);
}

static int parse_fstype(struct parse *p, const char *value, struct error *err)
{
    if (!fs_find(value))
        return error_set(err, -EINVAL, "option fstype: '%.40s' is not one of %s", value, fs_names());
    (void)snprintf(p->to->spec.fstype, sizeof p->to->spec.fstype, "%s", value);
    p->to->given |= GIVEN_FSTYPE;
    return 0;
}

static int parse_mkfs(struct parse *p, const char *value, struct error *err)
{
    if (strlen(value) > SPEC_OPTIONS_MAX)
        return bad(err, "mkfs-options", value, "is too long");
    (void)snprintf(p->to->spec.mkfs_options, sizeof p->to->spec.mkfs_options, "%s", value);
    p->to->given |= GIVEN_MKFS;
    return 0;
}

/* Added to the host's own. What the host guards itself with (nodev, nosuid, noexec) no volume takes away. */
static int parse_mount(struct parse *p, const char *value, struct error *err)
{
    struct spec host;
    spec_default(p->settings, &host);
    int n = snprintf(p->to->spec.mount_options, sizeof p->to->spec.mount_options, "%s%s%s",
                     host.mount_options, host.mount_options[0] && value[0] ? "+" : "", value);
    if (n > SPEC_OPTIONS_MAX)
        return bad(err, "mount-options", value, "is too long");
    const char *word = spec_forbidden_word(p->to->spec.mount_options, host.mount_options);
    if (word)
        return error_set(err, -EINVAL,
                         "option mount-options: '%s' is against this host's own mount-options, which say "
                         "'no%s'; a volume cannot change that, the host's configuration can",
                         word, word);
    p->to->given |= GIVEN_MOUNT;
    return 0;
}

static int parse_id(const char *option, const char *value, uint32_t *to, struct error *err)
{
    if (text_parse_u32(value, UINT32_MAX - 1, to) < 0)
        return bad(err, option, value, "is not a number from 0 to 4294967294");
    return 0;
}

static int parse_uid(struct parse *p, const char *value, struct error *err)
{
    p->to->given |= GIVEN_UID;
    return parse_id("uid", value, &p->to->spec.uid, err);
}

static int parse_gid(struct parse *p, const char *value, struct error *err)
{
    p->to->given |= GIVEN_GID;
    return parse_id("gid", value, &p->to->spec.gid, err);
}

static int parse_mode(struct parse *p, const char *value, struct error *err)
{
    if (text_parse_mode(value, &p->to->spec.mode) < 0)
        return bad(err, "mode", value, "is not an octal mode from 0 to 7777");
    p->to->given |= GIVEN_MODE;
    return 0;
}

static int parse_sharing(struct parse *p, const char *value, struct error *err)
{
    if (strcmp(value, "exclusive") != 0 && strcmp(value, "host") != 0)
        return bad(err, "sharing", value, "is neither exclusive nor host");
    p->to->spec.sharing = strcmp(value, "host") == 0 ? SHARING_HOST : SHARING_EXCLUSIVE;
    p->to->given |= GIVEN_SHARING;
    return 0;
}

static int parse_object_size(struct parse *p, const char *value, struct error *err)
{
    uint64_t n;
    if (text_parse_size(value, 0, &n) < 0 || (n & (n - 1)) || n < OBJECT_MIN || n > OBJECT_MAX)
        return bad(err, "object-size", value, "is not a power of two from 4K to 32M, such as 4M");
    p->to->layout.order = (unsigned)__builtin_ctzll(n);
    p->to->given |= GIVEN_OBJECT_SIZE;
    return 0;
}

/* docker-volume-rbd's spelling: the base-2 logarithm. */
static int parse_order(struct parse *p, const char *value, struct error *err)
{
    uint32_t order;
    if (text_parse_u32(value, 25, &order) < 0 || order < 12)
        return bad(err, "order", value, "is not a number from 12 (4K objects) to 25 (32M)");
    p->to->layout.order = order;
    p->to->given |= GIVEN_OBJECT_SIZE;
    return 0;
}

static int parse_features(struct parse *p, const char *value, struct error *err)
{
    p->to->given |= GIVEN_FEATURES;
    int rc = image_parse_features(value, &p->to->layout.features, err);
    return rc < 0 ? error_prefix(err, "option features") : 0;
}

static int parse_data_pool(struct parse *p, const char *value, struct error *err)
{
    p->to->given |= GIVEN_DATA_POOL;
    return parse_place(p, "data-pool", value, p->to->data_pool, false, err);
}

static int parse_ro(struct parse *p, const char *value, struct error *err)
{
    bool yes = strcmp(value, "") == 0 || strcmp(value, "true") == 0 || strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "false") != 0 && strcmp(value, "no") != 0)
        return bad(err, "ro", value, "is neither true nor false");
    p->to->spec.ro = yes;
    p->to->given |= GIVEN_RO;
    return 0;
}

static int parse_from(struct parse *p, const char *value, struct error *err)
{
    char name[IMAGE_NAME_MAX + 1];
    size_t len = strcspn(value, "@");
    const char *snap = value[len] ? value + len + 1 : "";
    (void)snprintf(name, sizeof name, "%.*s", (int)len, value);
    if (len > IMAGE_NAME_MAX || (value[len] && !text_is_name(snap)))
        return bad(err, "from", value, "is not IMAGE or IMAGE@SNAPSHOT");
    if (name_parse(p->settings, name, &p->to->from, err) < 0)
        return error_prefix(err, "option from");
    (void)snprintf(p->to->snap, sizeof p->to->snap, "%s", snap);
    p->to->given |= GIVEN_FROM;
    return 0;
}

static int parse_mapper(struct parse *p, const char *value, struct error *err)
{
    if (!spec_is_mapper(value))
        return bad(err, "mapper", value, "is not one of auto, krbd, nbd, fuse");
    (void)snprintf(p->to->spec.mapper, sizeof p->to->spec.mapper, "%s", value);
    p->to->given |= GIVEN_MAPPER;
    return 0;
}

static int parse_iops(struct parse *p, const char *value, struct error *err)
{
    uint32_t n;
    if (text_parse_u32(value, UINT32_MAX, &n) < 0 || n == 0)
        return bad(err, "qos-iops", value, "is not a number of requests per second");
    p->to->spec.qos_iops = n;
    p->to->given |= GIVEN_QOS_IOPS;
    return 0;
}

static int parse_bps(struct parse *p, const char *value, struct error *err)
{
    if (text_parse_size(value, 1, &p->to->spec.qos_bps) < 0)
        return bad(err, "qos-bps", value, "is not a number of bytes per second, such as 50M");
    p->to->given |= GIVEN_QOS_BPS;
    return 0;
}

static int parse_remove(struct parse *p, const char *value, struct error *err)
{
    enum remove_policy policy;
    if (!spec_remove_policy(value, &policy))
        return bad(err, "remove", value, "is not one of trash, delete, rename, ignore");
    (void)snprintf(p->to->spec.remove, sizeof p->to->spec.remove, "%s", value);
    p->to->given |= GIVEN_REMOVE;
    return 0;
}

/* The name alone: what it opens with is in a file of this host. */
static int parse_encrypt(struct parse *p, const char *value, struct error *err)
{
    if (!text_is_name(value) || value[0] == '.')
        return bad(err, "encrypt", value, "is no name of a file in key-dir");
    (void)snprintf(p->to->spec.encrypt, sizeof p->to->spec.encrypt, "%s", value);
    p->to->given |= GIVEN_ENCRYPT;
    return 0;
}

static const struct {
    const char *name;
    parse_fn *parse;
    const char *alias_of;
} options[] = {
    { "size", parse_size, NULL },
    { "pool", parse_pool, NULL },
    { "namespace", parse_namespace, NULL },
    { "fstype", parse_fstype, NULL },
    { "mkfs-options", parse_mkfs, NULL },
    { "mount-options", parse_mount, NULL },
    { "uid", parse_uid, NULL },
    { "gid", parse_gid, NULL },
    { "mode", parse_mode, NULL },
    { "sharing", parse_sharing, NULL },
    { "object-size", parse_object_size, NULL },
    { "data-pool", parse_data_pool, NULL },
    { "features", parse_features, NULL },
    { "ro", parse_ro, NULL },
    { "from", parse_from, NULL },
    { "encrypt", parse_encrypt, NULL },
    { "qos-iops", parse_iops, NULL },
    { "qos-bps", parse_bps, NULL },
    { "remove", parse_remove, NULL },
    { "mapper", parse_mapper, NULL },
    /* REX-Ray's and the other RBD plugins' spellings */
    { "newfstype", parse_fstype, "fstype" },
    { "mkfsOptions", parse_mkfs, "mkfs-options" },
    { "mountOptions", parse_mount, "mount-options" },
    { "order", parse_order, "object-size" },
};
#define NOPTIONS (sizeof options / sizeof *options)

static int refuse_unknown(const char *key, struct error *err)
{
    char names[300] = "";
    size_t at = 0;
    for (size_t i = 0; i < NOPTIONS; i++)
        if (!options[i].alias_of)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", options[i].name);
    return error_set(err, -EINVAL, "option '%.60s' is not known; known options: %s", key, names);
}

/* NOPTIONS: there is none of this name. */
static size_t find_option(const char *name)
{
    size_t i = 0;
    while (i < NOPTIONS && strcmp(options[i].name, name) != 0)
        i++;
    return i;
}

static int parse_one(struct parse *p, const char *key, const json_t *value, struct error *err)
{
    size_t i = find_option(key);
    const char *text = json_string_value(value);
    if (i == NOPTIONS)
        return refuse_unknown(key, err);
    if (!text || json_string_length(value) != strlen(text))
        return error_set(err, -EINVAL, "option %s: its value must be a text", key);
    const char **spelled = &p->spelled[options[i].alias_of ? find_option(options[i].alias_of) : i];
    /* as bytes, padding and all: a second spelling that says the same writes the same ones again */
    unsigned char before[sizeof *p->to];
    const void *now = p->to;
    memcpy(before, now, sizeof before);
    int rc = options[i].parse(p, text, err);
    if (rc < 0)
        return rc;
    if (*spelled && memcmp(before, now, sizeof before) != 0)
        return error_set(err, -EINVAL,
                         "options %s and %s are two spellings of one option, and contradict each other",
                         *spelled, key);
    *spelled = options[i].name;
    return 0;
}

static int check_size_in_name(struct createopts *o, struct error *err)
{
    if (o->name.size && (o->given & GIVEN_SIZE) && o->name.size != o->layout.size)
        return error_set(err, -EINVAL, "option size: contradicts the size behind '@' in the volume's name");
    if (o->name.size) {
        o->layout.size = o->name.size;
        o->given |= GIVEN_SIZE;
    }
    return 0;
}

/* By a mapper that is asked for by name, and is not fuse. */
static bool is_for_others(const struct spec *s)
{
    return s->mapper[0] && strcmp(s->mapper, "auto") != 0 && strcmp(s->mapper, "fuse") != 0;
}

int createopts_check_mapper(const struct spec *spec, struct error *err)
{
    if ((spec->qos_iops || spec->qos_bps) && strcmp(spec->mapper, "krbd") == 0)
        return error_set(err, -EINVAL,
                         "option mapper: krbd cannot limit I/O (qos-iops, qos-bps); ask for nbd or fuse");
    if (spec->encrypt[0] && is_for_others(spec))
        return error_set(err, -EINVAL,
                         "option mapper: an encrypted volume is mapped by fuse alone, not by %s",
                         spec->mapper);
    if (spec->ro && is_for_others(spec))
        return error_set(err, -EINVAL,
                         "option mapper: a snapshot is mounted on many hosts at once by fuse alone, since %s "
                         "leaves no trace of it in the cluster",
                         spec->mapper);
    return 0;
}

/* What has no meaning for an image that is made like this. */
static int check_combination(const struct createopts *o, struct error *err)
{
    if ((o->given & GIVEN_FROM) && (o->given & (GIVEN_FSTYPE | GIVEN_MKFS)))
        return error_set(err, -EINVAL,
                         "option from: a clone has the file system of its source, so fstype and mkfs-options "
                         "cannot be given with it");
    if ((o->given & GIVEN_FROM) && (o->given & (GIVEN_UID | GIVEN_GID | GIVEN_MODE)))
        return error_set(err, -EINVAL,
                         "option from: a clone has the files of its source as they are, so uid, gid and mode "
                         "cannot be given with it");
    if (o->spec.ro && !(o->given & GIVEN_FROM))
        return error_set(
            err, -EINVAL,
            "option ro: a new volume that nobody can write is of no use; add from=IMAGE@SNAPSHOT, "
            "or mount a volume read-only in a container (docker run -v NAME:/path:ro)");
    if (o->spec.ro && (o->given & GIVEN_SIZE))
        return error_set(err, -EINVAL, "option size: a snapshot has the size that its source had");
    if (o->spec.encrypt[0] && (o->given & GIVEN_FROM))
        return error_set(err, -EINVAL,
                         "option from: a clone is encrypted as its source is, with the same key, so encrypt "
                         "cannot be given with it");
    return createopts_check_mapper(&o->spec, err);
}

/* For the file system. Of an encrypted image the header takes so much (measured: librbd 16), in whole
 * objects. */
static uint64_t room_of(const struct createopts *o)
{
    if (!o->spec.encrypt[0])
        return o->layout.size;
    uint64_t object = 1ULL << o->layout.order, header = object > LUKS_HEADER ? object : LUKS_HEADER;
    return o->layout.size > header ? o->layout.size - header : 0;
}

int createopts_check_new(const struct settings *settings, struct createopts *o, struct error *err)
{
    const struct fs *fs = fs_find(o->spec.fstype);
    if (check_combination(o, err) < 0)
        return err->code;
    if (o->given & GIVEN_FROM) /* the rest is its source's */
        return o->given & GIVEN_SIZE ? createopts_check_max(settings, o->layout.size, err) : 0;
    if (createopts_check_max(settings, o->layout.size, err) < 0)
        return error_prefix(err, "size");
    int rc = fs_check_mkfs_options(fs, o->spec.mkfs_options, err);
    if (rc < 0 && !(o->given & GIVEN_MKFS)) { /* the host's are for the host's own file system */
        o->spec.mkfs_options[0] = '\0';
        rc = 0;
    }
    if (rc < 0)
        return error_prefix(err, "option mkfs-options");
    rc = fs_check_mount_options(fs, o->spec.mount_options, err);
    if (rc < 0)
        return error_prefix(err, "option mount-options");
    rc = fs_check_size(fs, room_of(o), err);
    return rc < 0 ? error_prefix(err, "size") : 0;
}

int createopts_parse(const struct settings *settings, const struct volume_name *name, const json_t *opts,
                     struct createopts *ret, struct error *err)
{
    const char *spelled[NOPTIONS] = { NULL }, *key;
    struct parse p = { settings, ret, spelled };
    json_t *value;
    *ret = (struct createopts){ .name = *name };
    ret->layout = (struct image_layout){ .size = settings->size, .features = IMAGE_FEATURES_DEFAULT };
    spec_default(settings, &ret->spec);
    ret->spec.fresh = true;
    if (opts && !json_is_null(opts) && !json_is_object(opts))
        return error_set(err, -EINVAL, "field Opts: must be an object of texts");
    json_object_foreach((json_t *)(uintptr_t)opts, key, value)
    {
        int rc = parse_one(&p, key, value, err);
        if (rc < 0)
            return rc;
    }
    ret->layout.data_pool = ret->data_pool;
    return check_size_in_name(ret, err);
}

static int contradiction(struct error *err, const char *what, const char *asked, const char *have)
{
    return error_set(
        err, -EEXIST,
        "it exists already with %s %s, and %s was asked for; use it without this option, or remove it first",
        what, have, asked);
}

static int match_number(const struct createopts *asked, unsigned flag, const char *what, const char *format,
                        uint32_t want, uint32_t have, struct error *err)
{
    char a[16], b[16];
    if (!(asked->given & flag) || want == have)
        return 0;
    if (strcmp(format, "octal") == 0) {
        (void)snprintf(a, sizeof a, "%04o", want);
        (void)snprintf(b, sizeof b, "%04o", have);
    } else {
        (void)snprintf(a, sizeof a, "%u", want);
        (void)snprintf(b, sizeof b, "%u", have);
    }
    return contradiction(err, what, a, b);
}

static int match_limit(unsigned given, unsigned flag, const char *what, uint64_t want, uint64_t have,
                       struct error *err)
{
    char a[32], b[32];
    if (!(given & flag) || want == have)
        return 0;
    (void)snprintf(a, sizeof a, "%llu", (unsigned long long)want);
    (void)snprintf(b, sizeof b, "%llu", (unsigned long long)have);
    return contradiction(err, what, a, b);
}

/* The source as it was asked for, with the pool that it is in. */
static int match_from(const struct createopts *asked, const struct spec *spec, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1], want[SPEC_FROM_MAX + 1];
    if (!(asked->given & GIVEN_FROM))
        return 0;
    struct image_name from = asked->from.image;
    if (!from.pool[0])
        memcpy(from.pool, asked->name.image.pool, sizeof from.pool);
    (void)snprintf(want, sizeof want, "%s%s%s", image_name_full(&from, full), asked->snap[0] ? "@" : "",
                   asked->snap);
    return strcmp(want, spec->from) == 0
               ? 0
               : contradiction(err, "from", want, spec->from[0] ? spec->from : "no source");
}

static int match_use(const struct createopts *asked, const struct spec *spec, struct error *err)
{
    static const char *const words[] = { "false", "true" };
    if ((asked->given & GIVEN_RO) && asked->spec.ro != spec->ro)
        return contradiction(err, "ro", words[asked->spec.ro], words[spec->ro]);
    if ((asked->given & GIVEN_MAPPER) && strcmp(asked->spec.mapper, spec->mapper) != 0)
        return contradiction(err, "mapper", asked->spec.mapper,
                             spec->mapper[0] ? spec->mapper : "the host's");
    if ((asked->given & GIVEN_REMOVE) && strcmp(asked->spec.remove, spec->remove) != 0)
        return contradiction(err, "remove", asked->spec.remove,
                             spec->remove[0] ? spec->remove : "the host's");
    if ((asked->given & GIVEN_ENCRYPT) && strcmp(asked->spec.encrypt, spec->encrypt) != 0)
        return contradiction(err, "encrypt", asked->spec.encrypt,
                             spec->encrypt[0] ? spec->encrypt : "no encryption");
    int rc = match_limit(asked->given, GIVEN_QOS_IOPS, "qos-iops", asked->spec.qos_iops, spec->qos_iops, err);
    if (rc == 0)
        rc = match_limit(asked->given, GIVEN_QOS_BPS, "qos-bps", asked->spec.qos_bps, spec->qos_bps, err);
    return rc < 0 ? rc : match_from(asked, spec, err);
}

static int match_spec(const struct createopts *asked, const struct spec *spec, struct error *err)
{
    static const char *const words[] = { "exclusive", "host" };
    if ((asked->given & GIVEN_FSTYPE) && strcmp(asked->spec.fstype, spec->fstype) != 0)
        return contradiction(err, "fstype", asked->spec.fstype, spec->fstype);
    if ((asked->given & GIVEN_MKFS) && strcmp(asked->spec.mkfs_options, spec->mkfs_options) != 0)
        return contradiction(err, "mkfs-options", asked->spec.mkfs_options, spec->mkfs_options);
    if ((asked->given & GIVEN_MOUNT) && strcmp(asked->spec.mount_options, spec->mount_options) != 0)
        return contradiction(err, "mount-options", asked->spec.mount_options, spec->mount_options);
    if ((asked->given & GIVEN_SHARING) && asked->spec.sharing != spec->sharing)
        return contradiction(err, "sharing", words[asked->spec.sharing], words[spec->sharing]);
    int rc = match_number(asked, GIVEN_UID, "uid", "decimal", asked->spec.uid, spec->uid, err);
    if (rc == 0)
        rc = match_number(asked, GIVEN_GID, "gid", "decimal", asked->spec.gid, spec->gid, err);
    if (rc == 0)
        rc = match_number(asked, GIVEN_MODE, "mode", "octal", asked->spec.mode, spec->mode, err);
    return rc < 0 ? rc : match_use(asked, spec, err);
}

static int match_data_pool(const struct createopts *asked, const char *data_pool, struct error *err)
{
    const char *own = asked->name.image.pool; /* a data pool that is the image's own is none */
    const char *want = asked->data_pool, *have = data_pool[0] ? data_pool : own;
    if (!(asked->given & GIVEN_DATA_POOL) || strcmp(want, have) == 0)
        return 0;
    return contradiction(err, "data-pool", want, have);
}

int createopts_match(const struct createopts *asked, const struct image_header *image, const char *data_pool,
                     const struct spec *spec, struct error *err)
{
    char a[128], b[128];
    const uint64_t known = IMAGE_FEATURES_DEFAULT;
    if ((asked->given & GIVEN_SIZE) && asked->layout.size > image->size)
        return contradiction(err, "size", text_size(asked->layout.size, a), text_size(image->size, b));
    if ((asked->given & GIVEN_OBJECT_SIZE) && asked->layout.order != image->order)
        return contradiction(err, "object-size", text_size(1ULL << asked->layout.order, a),
                             text_size(1ULL << image->order, b));
    if ((asked->given & GIVEN_FEATURES) && asked->layout.features != (image->features & known))
        return contradiction(err, "features", image_feature_names(asked->layout.features, a, sizeof a),
                             image_feature_names(image->features, b, sizeof b));
    int rc = match_data_pool(asked, data_pool, err);
    return rc == 0 && spec ? match_spec(asked, spec, err) : rc;
}
