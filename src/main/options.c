/* SPDX-License-Identifier: MIT */
#include "main/options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/text.h"

#define AT(type, s, row) ((type *)(void *)((char *)(s) + (row)->offset))

/* ---- values ---- */

struct words {
    const char *word;
    unsigned value;
};

struct span {
    int64_t min_ms, max_ms;
    const char *why; /* the upper bound is what it is; NULL: nobody asks */
};

static int keep(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    char *copy = strdup(text);
    if (!copy)
        return error_set(err, -ENOMEM, "out of memory");
    free(*AT(char *, s, row));
    *AT(char *, s, row) = copy;
    return 0;
}

static int set_text(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    return keep(row, text, s, err);
}

static int set_name(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    if (*text && !text_is_name(text))
        return error_set(
            err, -EINVAL,
            "'%s' is not a name: letters, digits, '_', '.' and '-', the first a letter or digit, "
            "at most %d",
            text, NAME_PART_MAX);
    return keep(row, text, s, err);
}

/* An instance names files, units and processes: short, and never a path component with a meaning of its own.
 */
static int set_instance(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    if (strlen(text) > 32)
        return error_set(err, -EINVAL, "'%s' is longer than 32 characters", text);
    return set_name(row, text, s, err);
}

static int set_path(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    if (text[0] != '/')
        return error_set(err, -EINVAL, "'%s' is not an absolute path", text);
    /* Mount points are looked up in mountinfo as they are written: "/a/../b" or "/a//b" would never be found
     * there. */
    size_t len = strlen(text);
    if (len == 1 || strstr(text, "//") || strstr(text, "/./") || strstr(text, "/../") ||
        text[len - 1] == '/' || (len >= 2 && strcmp(text + len - 2, "/.") == 0) ||
        (len >= 3 && strcmp(text + len - 3, "/..") == 0))
        return error_set(err, -EINVAL,
                         "'%s' is not a plain path: without '//', '.', '..' and a '/' at its end", text);
    if (len >= PATH_MAX - 600) /* room for /POOL+NAMESPACE/IMAGE */
        return error_set(err, -EINVAL, "the path is longer than %d bytes", PATH_MAX - 600);
    return keep(row, text, s, err);
}

static int set_socket(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    struct sockaddr_un addr;
    if (strlen(text) >= sizeof addr.sun_path)
        return error_set(err, -EINVAL, "'%s' is longer than a socket's path can be, %zu bytes", text,
                         sizeof addr.sun_path - 1);
    return set_path(row, text, s, err);
}

static int set_size(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    uint64_t bytes = 0;
    if (*text && text_parse_size(text, 0, &bytes) < 0)
        return error_set(err, -EINVAL, "'%s' is not a size: write a number with K, M, G or T, as in 20G",
                         text);
    *AT(uint64_t, s, row) = bytes;
    return 0;
}

static int set_unit(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    if (*text && strcmp(text, "M") != 0 && strcmp(text, "G") != 0)
        return error_set(err, -EINVAL, "'%s' is not M or G", text);
    *AT(uint64_t, s, row) = *text == '\0' ? 0 : *text == 'M' ? 1ULL << 20 : 1ULL << 30;
    return 0;
}

static int set_duration(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    const struct span *span = row->range;
    int64_t ms;
    if (text_parse_duration(text, &ms) < 0)
        return error_set(err, -EINVAL,
                         "'%s' is not a duration: write a number with ms, s, m, h or d, as in 10s", text);
    if (ms < span->min_ms || ms > span->max_ms)
        return error_set(err, -EINVAL, "'%s' is not between %lldms and %llds%s%s", text,
                         (long long)span->min_ms, (long long)span->max_ms / 1000, span->why ? ": " : "",
                         span->why ? span->why : "");
    *AT(int64_t, s, row) = ms;
    return 0;
}

static int set_trash_keep(const struct option_row *row, const char *text, struct settings *s,
                          struct error *err)
{
    int rc = set_duration(row, text, s, err);
    if (rc == 0)
        s->trash_keep_anon_ms = s->trash_keep_ms;
    return rc;
}

static int set_bool(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    bool yes = strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "no") != 0 && strcmp(text, "false") != 0)
        return error_set(err, -EINVAL, "'%s' is not yes or no", text);
    *AT(bool, s, row) = yes;
    return 0;
}

static int set_mode(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    if (text_parse_mode(text, AT(uint32_t, s, row)) < 0)
        return error_set(err, -EINVAL, "'%s' is not a mode: write octal digits, at most 7777, as in 0755",
                         text);
    return 0;
}

static int set_socket_mode(const struct option_row *row, const char *text, struct settings *s,
                           struct error *err)
{
    uint32_t mode;
    if (text_parse_mode(text, &mode) == 0 && mode & ~0777U)
        return error_set(err, -EINVAL, "'%s': a socket has no setuid, setgid or sticky bit", text);
    return set_mode(row, text, s, err);
}

static int set_id(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    /* The largest number means "leave it" to chown(2). */
    if (text_parse_u32(text, UINT32_MAX - 1, AT(uint32_t, s, row)) < 0)
        return error_set(err, -EINVAL, "'%s' is not a numeric id", text);
    return 0;
}

static int choose(const struct words *words, const char *text, unsigned *ret, struct error *err)
{
    char known[128] = "";
    size_t len = 0;
    for (const struct words *w = words; w->word; w++) {
        if (strcmp(w->word, text) == 0) {
            *ret = w->value;
            return 0;
        }
        len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", len ? ", " : "", w->word);
    }
    return error_set(err, -EINVAL, "'%s' is none of: %s", text, known);
}

/* One of the words; the member is an enum, which is an unsigned int to this compiler. */
static int set_choice(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    _Static_assert(sizeof(enum remove_policy) == sizeof(unsigned), "enums are as large as unsigned");
    return choose(row->range, text, AT(unsigned, s, row), err);
}

/* The same, kept as the word itself. */
static int set_word(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    unsigned unused;
    int rc = choose(row->range, text, &unused, err);
    return rc < 0 ? rc : keep(row, text, s, err);
}

static int set_log_level(const struct option_row *row, const char *text, struct settings *s,
                         struct error *err)
{
    (void)row;
    if (log_level_parse(text, &s->log_level) < 0)
        return error_set(err, -EINVAL, "'%s' is none of: error, warning, notice, info, debug", text);
    return 0;
}

static int set_pools(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    char pools[POOLS_MAX][NAME_PART_MAX + 1] = { "" };
    unsigned n = 0;
    (void)row;
    for (const char *p = text + strspn(text, ", \t"); *p; p += strspn(p, ", \t")) {
        size_t len = strcspn(p, ", \t");
        char pool[NAME_PART_MAX + 2];
        (void)snprintf(pool, sizeof pool, "%.*s", (int)(len > NAME_PART_MAX ? NAME_PART_MAX + 1 : len), p);
        if (!text_is_name(pool))
            return error_set(
                err, -EINVAL,
                "'%s' is not a pool name: letters, digits, '_', '.' and '-', the first a letter or "
                "digit, at most %d",
                pool, NAME_PART_MAX);
        if (n == POOLS_MAX)
            return error_set(err, -EINVAL, "more than %d pools", POOLS_MAX);
        for (unsigned i = 0; i < n; i++)
            if (strcmp(pools[i], pool) == 0)
                return error_set(err, -EINVAL, "pool '%s' is named twice", pool);
        memcpy(pools[n++], pool, len + 1);
        p += len;
    }
    if (n == 0)
        return error_set(err, -EINVAL, "no pool is named");
    memcpy(s->pools, pools, sizeof pools);
    s->npools = n;
    return 0;
}

/* Words of mkfs or mount options: joined by '+', as in create options; a comma, as in fstab(5), is taken too.
 * What each file system allows is checked by host/fs.h. */
static int set_fs_words(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    auto_free char *joined = strdup(text);
    if (!joined)
        return error_set(err, -ENOMEM, "out of memory");
    for (char *p = joined; *p; p++) {
        if (isspace((unsigned char)*p))
            return error_set(err, -EINVAL, "'%s' has a blank in it: join words by '+', as in noatime+discard",
                             text);
        if (*p == ',')
            *p = '+';
    }
    return keep(row, joined, s, err);
}

/* Prometheus' numbers tell volume names: they are for this host only, and no name is looked up to find that
 * out. */
static int set_loopback(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    uint32_t port;
    struct in_addr v4;
    const char *colon = strrchr(text, ':');
    char host[64];
    (void)snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - text) : 0, text);
    bool loopback =
        strcmp(host, "[::1]") == 0 || (inet_pton(AF_INET, host, &v4) == 1 && strncmp(host, "127.", 4) == 0);
    if (*text && (!loopback || text_parse_u32(colon + 1, 65535, &port) < 0 || port == 0))
        return error_set(err, -EINVAL,
                         "'%s' is not a loopback address with a port: write 127.0.0.1:9188 or [::1]:9188",
                         text);
    return keep(row, text, s, err);
}

static const struct words remove_words[] = { { "trash", REMOVE_TRASH },
                                             { "delete", REMOVE_DELETE },
                                             { "rename", REMOVE_RENAME },
                                             { "ignore", REMOVE_IGNORE },
                                             { NULL, 0 } };
static const struct words sharing_words[] = { { "exclusive", SHARING_EXCLUSIVE },
                                              { "host", SHARING_HOST },
                                              { NULL, 0 } };
static const struct words legacy_words[] = { { "upgrade", LEGACY_UPGRADE },
                                             { "refuse", LEGACY_REFUSE },
                                             { NULL, 0 } };
static const struct words takeover_words[] = {
    { "dead", TAKEOVER_DEAD }, { "silent", TAKEOVER_SILENT }, { "never", TAKEOVER_NEVER }, { NULL, 0 }
};
static const struct words stuck_words[] = { { "report", STUCK_REPORT },
                                            { "error", STUCK_ERROR },
                                            { NULL, 0 } };
static const struct words mapper_words[] = {
    { "auto", 0 }, { "krbd", 0 }, { "nbd", 0 }, { "fuse", 0 }, { NULL, 0 }
};
static const struct words fs_words[] = { { "xfs", 0 }, { "ext4", 0 }, { "btrfs", 0 }, { NULL, 0 } };

static const struct span any_span = { 0, 3650LL * 86400 * 1000, NULL };
static const struct span some_span = { 1000, 86400LL * 1000, NULL };
static const struct span timeout_span = { 100, 55000, "Docker waits 60 s for a Get" };
static const struct span budget_span = { 1000, 115000, "Docker gives up after 120 s" };

#define FIELD(member) .offset = offsetof(struct settings, member)

/* In the order of the manual. */
const struct option_row options[] = {
    { "name", "NAME", "rbd", NULL,
      "the name of the plugin: its socket, its state and its mappers are called after it; several instances "
      "may run side by side",
      set_instance, FIELD(name) },
    { "socket", "PATH", "/run/docker/plugins/NAME.sock", NULL,
      "where Docker finds the plugin; not used when systemd passes the socket", set_socket, FIELD(socket) },
    { "socket-mode", "MODE", "0600", NULL,
      "mode of the socket; where systemd makes it, SocketMode= of the socket unit decides", set_socket_mode,
      FIELD(socket_mode) },
    { "socket-group", "GROUP", "root", NULL,
      "group of the socket, a name or a number; where systemd makes it, SocketGroup= of the socket unit "
      "decides",
      set_text, FIELD(socket_group) },
    { "cluster", "NAME", "ceph", NULL, "the name of the Ceph cluster", set_name, FIELD(cluster) },
    { "ceph-conf", "PATH", "/etc/ceph/CLUSTER.conf", NULL, "the cluster's configuration file", set_path,
      FIELD(ceph_conf) },
    { "user", "NAME", "rbdvol", NULL, "the Ceph user, without the `client.` in front", set_name,
      FIELD(user) },
    { "pool", "POOL[,POOL]...", "rbd", NULL,
      "the pools, separated by commas or blanks: the first is where volumes are created, all are searched "
      "and listed",
      set_pools, .offset = 0 },
    { "namespace", "NAME", "", "the default namespace", "RADOS namespace, of each pool", set_name,
      FIELD(ns) },
    { "mount-root", "PATH", "/var/lib/rbdvol/NAME/mnt", NULL,
      "a volume is mounted at PATH/POOL/IMAGE, or PATH/POOL+NAMESPACE/IMAGE", set_path, FIELD(mount_root) },
    { "state-dir", "PATH", "/run/rbdvol/NAME", NULL,
      "what must outlive a restart of the daemon but not of the host; one daemon per directory", set_path,
      FIELD(state_dir) },
    { "max-size", "SIZE", "", "no limit", "no volume is created or grown beyond it", set_size,
      FIELD(max_size) },
    { "scratch-dir", "PATH", "/var/lib/rbdvol/NAME/scratch", NULL,
      "where mkfs writes; its file system must take a sparse file of the volume's size (ext4: up to 16 TiB)",
      set_path, FIELD(scratch_dir) },
    { "key-dir", "PATH", RBDVOL_SYSCONFDIR "/rbdvol/keys", NULL, "passphrase files of encrypted volumes",
      set_path, FIELD(key_dir) },
    { "mapper", "auto|krbd|nbd|fuse", "auto", NULL,
      "how an image becomes a block device; auto takes the first that this host and the image allow",
      set_word, FIELD(mapper), mapper_words },
    { "map-options", "WORDS", "", "none",
      "words for krbd, joined by commas: queue_depth=N, notrim, ms_mode=MODE, alloc_size=N, "
      "read_from_replica=MODE, crush_location=PLACE, compression_hint=HINT, rxbounce, nocrc and others that "
      "cost no safety",
      set_text, FIELD(map_options) },
    { "spare-mapper", "yes|no", "no", NULL,
      "keep a process of the fuse mapper that is connected already, for the next mount: it takes some 20 MB, "
      "and a client's connection to the monitors",
      set_bool, FIELD(spare_mapper) },
    { "create", "yes|no", "yes", NULL,
      "may Create make images; no: only images that exist can be used; each creation is logged", set_bool,
      FIELD(create) },
    { "size", "SIZE", "20G", NULL, "size of a new volume whose creator names none", set_size, FIELD(size) },
    { "size-unit", "M|G", "", "a number below 1024 without a unit is refused, others are MiB",
      "what a number without a unit in `-o size=N` means: M as in rbd-docker-plugin, G as in REX-Ray and "
      "Marathon",
      set_unit, FIELD(size_unit) },
    { "fstype", "xfs|ext4|btrfs", "xfs", NULL, "file system of a new volume", set_word, FIELD(fstype),
      fs_words },
    { "mkfs-options", "WORD[+WORD]...", "", "what is sane and quick for the type",
      "options for mkfs of a new volume, from a list of allowed ones", set_fs_words, FIELD(mkfs_options) },
    { "mount-options", "WORD[+WORD]...", "noatime+nodev+nosuid", "those of the kernel",
      "mount options of a volume, from a list of allowed ones", set_fs_words, FIELD(mount_options) },
    { "uid", "NUMBER", "0", NULL, "owner of a new volume's root directory", set_id, FIELD(uid) },
    { "gid", "NUMBER", "0", NULL, "group of a new volume's root directory", set_id, FIELD(gid) },
    { "mode", "MODE", "0755", NULL, "mode of a new volume's root directory", set_mode, FIELD(mode) },
    { "remove", "trash|delete|rename|ignore", "trash", NULL,
      "what Remove does: trash keeps the image restorable, delete is permanent, rename puts zz_ before its "
      "name, ignore "
      "leaves it as it is",
      set_choice, FIELD(remove), remove_words },
    { "trash-keep", "DURATION", "7d", NULL,
      "how long a removed volume stays in the trash; unless set, 1h for anonymous volumes (64 hexadecimal "
      "digits)",
      set_trash_keep, FIELD(trash_keep_ms), &any_span },
    { "sharing", "exclusive|host", "exclusive", NULL,
      "exclusive: one container at a time uses a volume; host: containers of one host may share it",
      set_choice, FIELD(sharing), sharing_words },
    { "legacy-images", "upgrade|refuse", "upgrade", NULL,
      "images without the exclusive-lock feature: upgrade adds it at the first mount", set_choice,
      FIELD(legacy_images), legacy_words },
    { "takeover", "dead|silent|never", "dead", NULL,
      "dead: take a volume from an owner whose watch has lapsed; silent: also from one that answers nothing "
      "for `silence`; "
      "never: only `rbdvol unlock` does",
      set_choice, FIELD(takeover), takeover_words },
    { "silence", "DURATION", "5s", NULL, "see `takeover`", set_duration, FIELD(silence_ms), &some_span },
    { "ceph-timeout", "DURATION", "10s", NULL, "bound of one control operation on the cluster", set_duration,
      FIELD(ceph_timeout_ms), &timeout_span },
    { "budget", "DURATION", "100s", NULL,
      "how long Mount and Create may take before they are answered, half of it for the others; 25s for a "
      "managed plugin that is "
      "left at Docker's 30 s",
      set_duration, FIELD(budget_ms), &budget_span },
    { "io-stuck", "DURATION", "120s", NULL, "a mapping that makes no progress for so long is stuck",
      set_duration, FIELD(io_stuck_ms), &some_span },
    { "io-stuck-action", "report|error", "report", NULL,
      "what is done about it: report it, or fail its I/O so that containers can end", set_choice,
      FIELD(io_stuck_action), stuck_words },
    { "metrics-listen", "ADDRESS:PORT", "", "off",
      "loopback TCP address that serves GET /metrics and /healthz and nothing else; the socket always "
      "answers them",
      set_loopback, FIELD(metrics_listen) },
    { "log-level", "error|warning|notice|info|debug", "info", NULL,
      "what is logged: this and what is more urgent", set_log_level, .offset = 0 },
};

const size_t options_count = sizeof options / sizeof *options;

const struct option_row *option_find(const char *name)
{
    for (size_t i = 0; i < options_count; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

int option_set(const struct option_row *row, const char *text, struct settings *s, struct error *err)
{
    if (!*text && !row->none)
        return error_set(err, -EINVAL, "it has no value");
    for (const char *p = text; *p; p++)
        if (iscntrl((unsigned char)*p) && *p != '\t') /* between pools */
            return error_set(err, -EINVAL, "'%s' has a control character in it", text);
    return row->set(row, text, s, err);
}

int option_preset(const struct option_row *row, struct settings *s, struct error *err)
{
    char text[PATH_MAX];
    size_t len = 0;
    for (const char *p = row->preset; *p;) {
        const char *word = NULL;
        if (strncmp(p, "NAME", 4) == 0)
            word = s->name;
        else if (strncmp(p, "CLUSTER", 7) == 0)
            word = s->cluster;
        if (!word) {
            text[len++] = *p++;
            continue;
        }
        len += (size_t)snprintf(text + len, sizeof text - len, "%s", word);
        p += *p == 'N' ? 4 : 7;
    }
    text[len] = '\0';
    int rc = option_set(row, text, s, err);
    if (row->set == set_trash_keep)
        s->trash_keep_anon_ms = 3600 * 1000;
    return rc;
}

const char *option_variable(const struct option_row *row, char *buf, size_t size)
{
    (void)snprintf(buf, size, "RBDVOL_%s", row->name);
    for (char *p = buf; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return buf;
}

void settings_free(struct settings *s)
{
    char *all[] = { s->name,          s->socket,      s->socket_group, s->ceph_conf,
                    s->cluster,       s->user,        s->ns,           s->mount_root,
                    s->state_dir,     s->scratch_dir, s->key_dir,      s->mapper,
                    s->map_options,   s->fstype,      s->mkfs_options, s->mount_options,
                    s->metrics_listen };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    *s = (struct settings){ 0 };
}
