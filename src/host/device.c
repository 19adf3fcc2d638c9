/* SPDX-License-Identifier: MIT */
#include "host/device.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/cleanup.h"
#include "base/command.h"
#include "host/fs.h"
#include "host/helper.h"

#define END_MS 2000

/* The helper stops its own children (mkfs, e2fsck) a little before our deadline, so that a slow one becomes
 * an answer instead of a lost device. */
#define MARGIN_MS 500

#define USES_MAX 256 /* then another takes its place: it calls libraries that may not be free of leaks */

struct device {
    int channel;
    pid_t pid;
    unsigned uses;
    bool lost;    /* it was killed, or has ended */
    bool frozen;  /* it has something frozen, or may have: it is left to end by itself, which thaws */
    bool asked;   /* the answer to device_probe_ahead is still to come */
    bool spent;   /* nobody else can have it: it has changed what signals do to it */
    bool resting; /* it was told to let go of everything, and has not been heard to have done so */
};

/* The one that is idle. Starting a program takes longer than most of what it is started for. */
static struct {
    pthread_mutex_t lock; /* a leaf */
    struct device *device;
} idle = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Kills it; in state D it stays until the kernel lets go of it. */
static void abandon(struct device *d)
{
    if (!d->frozen)
        (void)kill(d->pid, SIGKILL);
    command_disown(d->pid);
    d->lost = true;
}

static void finish(struct device *d)
{
    (void)close(d->channel);
    if (!d->lost && command_wait(d->pid, clock_in_ms(END_MS)) == -ETIMEDOUT)
        abandon(d);
    free(d);
}

/* After its word that it has let go of everything nothing comes from an idle one but its end. False: it is of
 * no use any more. */
static bool is_rested(struct device *d)
{
    struct pollfd p = { .fd = d->channel, .events = POLLIN };
    struct error ignored;
    int rc = d->resting ? channel_answer(d->channel, clock_in_ms(END_MS), NULL, &ignored) : 0;
    if (rc == -ETIMEDOUT)
        abandon(d);
    d->resting = false;
    return rc == 0 && poll(&p, 1, 0) == 0;
}

static struct device *take_idle(void)
{
    struct device *d;
    {
        LOCK_SCOPE(&idle.lock);
        d = idle.device;
        idle.device = NULL;
    }
    if (d && !is_rested(d)) {
        finish(d);
        d = NULL;
    }
    return d;
}

/* False: it cannot be kept, or another is. */
static bool keep_idle(struct device *d)
{
    LOCK_SCOPE(&idle.lock);
    if (idle.device)
        return false;
    idle.device = d;
    return true;
}

static bool is_wanted_idle(const struct device *d)
{
    LOCK_SCOPE(&idle.lock);
    return !idle.device && !d->lost && !d->frozen && !d->spent && !d->asked && d->uses < USES_MAX;
}

static int start_new(struct device **ret, struct error *err)
{
    static const char *const argv[] = { "rbdvol-device", DEVICE_IDLE, DEVICE_NOBODY, NULL };
    char path[PATH_MAX];
    int pair[2];
    if (helper_path("device", path, sizeof path) < 0)
        return error_set(err, -ENAMETOOLONG, "the path of rbdvol-device is too long");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set(err, -errno, "cannot make a socket for rbdvol-device: %s", error_text(errno));
    auto_close int ours = pair[0], theirs = pair[1];
    auto_free struct device *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(err, -ENOMEM, "cannot start rbdvol-device: out of memory");
    int rc = command_spawn(path, argv, &theirs, 1, &d->pid, err);
    if (rc == -ENOENT)
        return err->code = -EOPNOTSUPP;
    if (rc < 0)
        return rc;
    d->channel = steal_fd(&ours);
    *ret = steal_ptr(&d);
    return 0;
}

int device_start(struct device **ret, struct error *err)
{
    struct device *d = take_idle();
    int rc = d ? 0 : start_new(&d, err);
    if (rc < 0)
        return rc;
    d->uses++;
    *ret = d;
    return 0;
}

void device_end(struct device *d)
{
    struct error ignored;
    if (!d)
        return;
    if (is_wanted_idle(d)) {
        json_auto_t *request = json_pack("{s:s}", "do", "rest");
        /* Its answer is for who takes it next: nobody waits for it before. */
        d->resting = request && channel_send(d->channel, request, clock_in_ms(END_MS), &ignored) == 0;
        if (d->resting && keep_idle(d))
            return;
    }
    finish(d);
}

static int no_answer(struct device *d, const char *what, moment start, int rc, struct error *err)
{
    char span[32];
    abandon(d);
    if (rc == -EPIPE)
        return error_set(err, -EIO, "%s failed: the helper rbdvol-device ended before it answered", what);
    clock_span(clock_since_ms(start) + 999, span, sizeof span);
    return error_set(err, -ETIMEDOUT, "%s did not finish within %s: the storage under it may hang", what,
                     span);
}

/* what: "mounting '/dev/loop3'", for the messages. */
static int send_request(struct device *d, json_t *req, const char *what, moment deadline, struct error *err)
{
    int left = clock_left_ms(deadline);
    if (!req)
        return error_set(err, -EINVAL, "%s: a name in it is not UTF-8", what);
    if (d->lost)
        return error_set(err, -ENOTCONN, "%s: not possible, the helper for this device was stopped", what);
    int own = left > 2 * MARGIN_MS ? left - MARGIN_MS : left / 2;
    (void)json_object_set_new(req, "ms", json_integer(own));
    return channel_send(d->channel, req, deadline, err);
}

/* rc: whether it was sent. */
static int take_answer(struct device *d, int rc, const char *what, moment start, moment deadline,
                       json_t **ret, struct error *err)
{
    if (rc == 0)
        rc = channel_answer(d->channel, deadline, ret, err);
    if (rc == -EPIPE || (rc == -ETIMEDOUT && clock_left_ms(deadline) == 0))
        return no_answer(d, what, start, rc, err);
    if (rc == -ENOENT) /* that means "no such image" to everybody above us */
        err->code = rc = -ENODEV;
    return rc;
}

/* One request. key: goes after it, in a packet of its own, so that it is in no text; NULL: there is none.
 * Takes the reference of request. */
static int call_with_key(struct device *d, json_t *request, const struct device_key *key, const char *what,
                         moment deadline, json_t **ret, struct error *err)
{
    json_auto_t *req = request;
    moment start = clock_now();
    int rc = send_request(d, req, what, deadline, err);
    if (rc == 0 && key && key->name && send(d->channel, key->bytes, key->len, MSG_NOSIGNAL) < 0)
        rc = -EPIPE;
    return take_answer(d, rc, what, start, deadline, ret, err);
}

static int device_call(struct device *d, json_t *request, const char *what, moment deadline, json_t **ret,
                       struct error *err)
{
    return call_with_key(d, request, NULL, what, deadline, ret, err);
}

static const char *what(char buf[static PATH_MAX + 64], const char *verb, const char *object)
{
    (void)snprintf(buf, PATH_MAX + 64, "%s '%s'", verb, object);
    return buf;
}

static int bad_reply(struct error *err)
{
    return error_set(err, -EPROTO, "rbdvol-device answered something unknown: is it of another version?");
}

static json_t *probe_request(const char *file)
{
    return json_pack("{s:s, s:s}", "do", "probe", "file", file);
}

void device_probe_ahead(struct device *d, const char *file, moment deadline)
{
    json_auto_t *request = probe_request(file);
    struct error ignored;
    d->asked = send_request(d, request, "", deadline, &ignored) == 0;
}

int device_probe(struct device *d, const char *file, moment deadline, struct device_probe *ret,
                 struct error *err)
{
    char text[PATH_MAX + 64];
    json_auto_t *reply = NULL;
    (void)what(text, "probing", file);
    int rc = d->asked ? take_answer(d, 0, text, clock_now(), deadline, &reply, err)
                      : device_call(d, probe_request(file), text, deadline, &reply, err);
    d->asked = false;
    if (rc < 0)
        return rc;
    int found, size;
    const char *type, *uuid;
    if (json_unpack(reply, "{s:i, s:s, s:s, s:i}", "found", &found, "type", &type, "uuid", &uuid,
                    "block_size", &size) < 0)
        return bad_reply(err);
    *ret = (struct device_probe){ .found = (enum probe_found)found, .block_size = (uint32_t)size };
    (void)snprintf(ret->type, sizeof ret->type, "%s", type);
    (void)snprintf(ret->uuid, sizeof ret->uuid, "%s", uuid);
    return 0;
}

int device_format(struct device *d, const char *file, const char *fstype, const char *mkfs_options,
                  const char *scratch_dir, moment deadline, struct error *err)
{
    char text[PATH_MAX + 64];
    return device_call(d,
                       json_pack("{s:s, s:s, s:s, s:s, s:s}", "do", "format", "file", file, "fstype", fstype,
                                 "options", mkfs_options, "scratch", scratch_dir),
                       what(text, "formatting", file), deadline, NULL, err);
}

static int node_from(const json_t *reply, struct device_node *ret, struct error *err)
{
    const char *path;
    int major, minor;
    /* jansson's unpack only reads, but has no const */
    if (json_unpack((json_t *)(uintptr_t)reply, "{s:s, s:i, s:i}", "path", &path, "major", &major, "minor",
                    &minor) < 0)
        return bad_reply(err);
    *ret = (struct device_node){ .major = (unsigned)major, .minor = (unsigned)minor };
    (void)snprintf(ret->path, sizeof ret->path, "%s", path);
    return 0;
}

static int attach(struct device *d, const char *file, uint32_t block_size, bool ro, bool first,
                  moment deadline, struct device_node *ret, struct error *err)
{
    char text[PATH_MAX + 64];
    json_auto_t *reply = NULL;
    int rc = device_call(d,
                         json_pack("{s:s, s:s, s:i, s:b, s:b}", "do", "attach", "file", file, "block_size",
                                   (int)block_size, "ro", ro, "first", first),
                         what(text, "putting a loop device on", file), deadline, &reply, err);
    return rc < 0 ? rc : node_from(reply, ret, err);
}

int device_attach(struct device *d, const char *file, uint32_t block_size, bool ro, moment deadline,
                  struct device_node *ret, struct error *err)
{
    return attach(d, file, block_size, ro, false, deadline, ret, err);
}

int device_attach_first(struct device *d, const char *file, uint32_t block_size, bool ro, moment deadline,
                        struct device_node *ret, struct error *err)
{
    return attach(d, file, block_size, ro, true, deadline, ret, err);
}

int device_find(struct device *d, const char *file, moment deadline, struct device_node *ret,
                struct error *err)
{
    char text[PATH_MAX + 64];
    json_auto_t *reply = NULL;
    int rc = device_call(d, json_pack("{s:s, s:s}", "do", "find", "file", file),
                         what(text, "looking for the loop device of", file), deadline, &reply, err);
    if (rc < 0)
        return rc;
    if (!json_is_string(json_object_get(reply, "path")))
        return 0;
    rc = node_from(reply, ret, err);
    return rc < 0 ? rc : 1;
}

int device_check(struct device *d, const char *fstype, bool mend, moment deadline, enum grow_due *due,
                 struct error *err)
{
    char text[PATH_MAX + 64];
    json_auto_t *reply = NULL;
    const struct fs *fs = fs_find(fstype);
    *due = GROW_NOT_DUE;
    if (fs && !fs->checked)
        return 0;
    int rc = device_call(d, json_pack("{s:s, s:s, s:b}", "do", "check", "fstype", fstype, "mend", mend),
                         what(text, "checking a file system of type", fstype), deadline, &reply, err);
    if (rc == 0)
        *due = (enum grow_due)json_integer_value(json_object_get(reply, "due"));
    return rc;
}

int device_enlarge(struct device *d, moment deadline, struct error *err)
{
    return device_call(d, json_pack("{s:s}", "do", "enlarge"), "growing the file system", deadline, NULL,
                       err);
}

int device_renew(struct device *d, const char *fstype, moment deadline, bool *renewed, struct error *err)
{
    json_auto_t *reply = NULL;
    int rc = device_call(d, json_pack("{s:s, s:s}", "do", "renew", "fstype", fstype),
                         "giving the clone a uuid of its own", deadline, &reply, err);
    if (rc == 0)
        *renewed = json_is_true(json_object_get(reply, "renewed"));
    return rc;
}

int device_mount(struct device *d, const struct device_mount *m, moment deadline, struct error *err)
{
    char text[PATH_MAX + 64];
    return device_call(d,
                       json_pack("{s:s, s:s, s:s, s:s, s:s}", "do", "mount", "mountpoint", m->mountpoint,
                                 "fstype", m->fstype, "options", m->options, "volume", m->volume),
                       what(text, "mounting at", m->mountpoint), deadline, NULL, err);
}

int device_fresh(struct device *d, const char *mountpoint, uint32_t uid, uint32_t gid, uint32_t mode,
                 moment deadline, struct error *err)
{
    char text[PATH_MAX + 64];
    return device_call(d,
                       json_pack("{s:s, s:s, s:I, s:I, s:I}", "do", "fresh", "mountpoint", mountpoint, "uid",
                                 (json_int_t)uid, "gid", (json_int_t)gid, "mode", (json_int_t)mode),
                       what(text, "preparing the new volume at", mountpoint), deadline, NULL, err);
}

int device_grow(struct device *d, const char *file, const struct device_node *node, const char *fstype,
                const char *mountpoint, moment deadline, bool *grown, struct error *err)
{
    char text[PATH_MAX + 64];
    json_auto_t *reply = NULL;
    int rc = device_call(d,
                         json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:s}", "do", "grow", "file", file, "path",
                                   node->path, "major", (int)node->major, "minor", (int)node->minor, "fstype",
                                   fstype, "mountpoint", mountpoint),
                         what(text, "growing", mountpoint), deadline, &reply, err);
    if (rc == 0)
        *grown = json_is_true(json_object_get(reply, "grown"));
    return rc;
}

static json_t *of_node(const char *verb, const char *mountpoint, const struct device_node *node)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:i}", "do", verb, "mountpoint", mountpoint, "path", node->path,
                     "major", (int)node->major, "minor", (int)node->minor);
}

int device_trim(struct device *d, const char *mountpoint, const struct device_node *node, uint64_t from,
                uint64_t length, moment deadline, uint64_t *trimmed, struct error *err)
{
    char text[PATH_MAX + 64];
    json_auto_t *reply = NULL;
    json_t *request = of_node("trim", mountpoint, node);
    if (request) {
        json_object_set_new(request, "from", json_integer((json_int_t)from));
        json_object_set_new(request, "length", json_integer((json_int_t)length));
    }
    int rc = device_call(d, request, what(text, "trimming", mountpoint), deadline, &reply, err);
    if (rc == 0)
        *trimmed = (uint64_t)json_integer_value(json_object_get(reply, "trimmed"));
    return rc;
}

int device_freeze(struct device *d, const char *mountpoint, const struct device_node *node, int hold_ms,
                  moment deadline, struct error *err)
{
    char text[PATH_MAX + 64];
    json_t *request = of_node("freeze", mountpoint, node);
    if (request)
        json_object_set_new(request, "hold_ms", json_integer(hold_ms));
    d->frozen = d->spent = true;
    return device_call(d, request, what(text, "freezing", mountpoint), deadline, NULL, err);
}

int device_thaw(struct device *d, moment deadline, struct error *err)
{
    int rc = device_call(d, json_pack("{s:s}", "do", "thaw"), "thawing", deadline, NULL, err);
    d->frozen = rc < 0;
    return rc;
}

int device_unfreeze(struct device *d, const char *mountpoint, const struct device_node *node, moment deadline,
                    struct error *err)
{
    char text[PATH_MAX + 64];
    return device_call(d, of_node("unfreeze", mountpoint, node), what(text, "thawing", mountpoint), deadline,
                       NULL, err);
}

int device_umount(struct device *d, const char *mountpoint, const struct device_node *node, bool lazily,
                  moment deadline, struct error *err)
{
    char text[PATH_MAX + 64];
    return device_call(d,
                       json_pack("{s:s, s:s, s:s, s:i, s:i, s:b}", "do", "umount", "mountpoint", mountpoint,
                                 "path", node->path, "major", (int)node->major, "minor", (int)node->minor,
                                 "lazily", lazily),
                       what(text, "unmounting", mountpoint), deadline, NULL, err);
}

int device_krbd(struct device *d, const char *mapping, const char *file, const char *text,
                const struct device_key *key, moment deadline, int *status, struct error *err)
{
    json_auto_t *reply = NULL;
    json_t *request =
        json_pack("{s:s, s:s, s:s, s:s}", "do", "krbd", "mapping", mapping, "file", file, "text", text);
    if (request && key->name)
        json_object_set_new(request, "key", json_string(key->name));
    int rc = call_with_key(d, request, key, "writing to the kernel's rbd driver", deadline, &reply, err);
    if (rc < 0)
        return rc;
    return json_unpack(reply, "{s:i}", "status", status) < 0 ? bad_reply(err) : 0;
}

int device_argv(struct device *d, pid_t pid, moment deadline, char **ret, size_t *len, struct error *err)
{
    json_auto_t *reply = NULL;
    size_t i, size = 1;
    json_t *word;
    int rc = device_call(d, json_pack("{s:s, s:i}", "do", "argv", "pid", (int)pid), "looking at a process",
                         deadline, &reply, err);
    if (rc < 0)
        return rc;
    const json_t *argv = json_object_get(reply, "argv");
    json_array_foreach(argv, i, word) size += json_string_length(word) + 1;
    char *text = calloc(1, size), *p = text;
    if (!text)
        return error_set(err, -ENOMEM, "out of memory");
    json_array_foreach(argv, i, word) p = stpcpy(p, json_string_value(word)) + 1;
    *ret = text;
    *len = (size_t)(p - text);
    return 0;
}
