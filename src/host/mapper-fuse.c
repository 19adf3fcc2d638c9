/* SPDX-License-Identifier: MIT */
/* Mapping by our own helper process (rbdvol-mapper), which shows the image as one regular file. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/cleanup.h"
#include "base/command.h"
#include "base/identity.h"
#include "base/log.h"
#include "base/text.h"
#include "host/fuse-abort.h"
#include "host/loop.h"
#include "host/mapper-control.h"
#include "host/mapper-identity.h"
#include "host/mapper-process.h"
#include "host/mapper-scope.h"
#include "host/mapper.h"
#include "host/mountinfo.h"
#include "host/procs.h"

#define BUSY_MS      1000
#define BUSY_POLL_MS 20
#define PROGRAM      MAPPER_PROCESS_PROGRAM
#define ARGV0        MAPPER_PROCESS_ARGV0
#define FSTYPE       FUSE_ABORT_FSTYPE
#define HELLO_MS     2000 /* a mapper answers at once, whatever the cluster does */
#define AGAIN_MS     100  /* for one that did not answer before */
#define KILL_MS      2000
#define RETRY_MS     2

static int fuse_probe(const struct mapper_image *image, struct error *err)
{
    (void)image; /* librbd knows all features */
    auto_close int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        return 0;
    return error_set(err, -ENODEV, "cannot open /dev/fuse: %s%s", error_text(errno),
                     errno == ENOENT || errno == ENODEV ? " (`modprobe fuse`)" : "");
}

/* -ENOENT is the cluster's word for an image that does not exist; a missing file on this host is something
 * else. */
static int not_absent(int rc, struct error *err)
{
    return rc == -ENOENT ? (err->code = -ENODEV) : rc;
}

static int path_of(char *buf, size_t size, const char *run_dir, const char *id, const char *suffix,
                   struct error *err)
{
    if (snprintf(buf, size, "%s/%s%s", run_dir, id, suffix) >= (int)size)
        return error_set(err, -ENAMETOOLONG, "the path of the run directory %s is too long", run_dir);
    return 0;
}

static int fuse_mount(const char *file, int *ret, struct error *err)
{
    char data[128];
    auto_close int target = open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (target < 0)
        return error_set(err, -errno, "cannot make %s: %s", file, error_text(errno));
    auto_close int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, -errno, "cannot open /dev/fuse: %s", error_text(errno));
    (void)snprintf(data, sizeof data, "fd=%d,rootmode=100000,user_id=0,group_id=0,max_read=1048576", fd);
    if (mount("rbdvol", file, FSTYPE, MS_NOSUID | MS_NODEV | MS_NOEXEC, data) < 0)
        return error_set(err, -errno, "cannot mount the image's file %s: %s", file, error_text(errno));
    *ret = steal_fd(&fd);
    return 0;
}

static void files_remove(const struct mapping *m)
{
    char path[PATH_MAX];
    mapper_control_path(m, path);
    (void)unlink(path);
    (void)unlink(m->file);
}

/* One try to map. */
struct attempt {
    pid_t pid;
    bool mounted;
    bool anew;  /* by a new process, although one may be there already */
    bool spare; /* by the spare one */
};

/* Undoes a map that failed, before anything was written: no harm in killing. */
static void map_undo(const struct mapping *m, const struct attempt *a)
{
    if (a->pid > 0) {
        /* One that refused has tidied up in the cluster by now; one that hangs gets no chance. */
        (void)kill(a->pid, SIGKILL);
        if (command_wait(a->pid, clock_in_ms(KILL_MS)) == -ETIMEDOUT)
            command_disown(a->pid);
    }
    if (a->mounted)
        (void)umount2(m->file, MNT_DETACH);
    files_remove(m);
}

static int wait_ready(struct mapping *m, int64_t ms_given, moment deadline, struct error *err)
{
    char path[PATH_MAX], full[IMAGE_NAME_MAX + 1];
    json_auto_t *request = mapper_control_question("wait-ready"), *reply = NULL;
    mapper_control_path(m, path);
    int fd = channel_connect(path, err);
    if (fd < 0)
        return not_absent(fd, err);
    int rc = channel_call(fd, request, deadline, &reply, err);
    if (rc == 0)
        rc = mapper_control_fill(m, reply, err);
    else if (rc == -ETIMEDOUT && !clock_left_ms(deadline))
        (void)error_set(err, rc, "the cluster did not let image '%s' be opened and locked within %lld ms",
                        image_name_full(&m->name, full), (long long)ms_given);
    else if (mapper_control_is_gone(rc) && rc != -ENOENT)
        rc = error_set(err, -EIO, "%s ended at once: is it installed, and can it load its libraries?",
                       PROGRAM);
    if (rc < 0) {
        (void)close(fd);
        return rc;
    }
    const char *warning = json_string_value(json_object_get(reply, "warning"));
    if (warning)
        log_warning("mapper volume=%s mapping=%s: %s", image_name_full(&m->name, full), m->id, warning);
    m->control = fd;
    return 0;
}

static int map_in(const struct mapper_host *host, const struct mapper_image *image, struct mapping *m,
                  struct attempt *a, moment deadline, struct error *err)
{
    char sock[PATH_MAX];
    int64_t ms_given = clock_left_ms(deadline);
    auto_close int fuse = -1;
    int rc = fuse_mount(m->file, &fuse, err);
    if (rc < 0)
        return not_absent(rc, err);
    a->mounted = true;
    mapper_control_path(m, sock);
    auto_close int listening = channel_listen(sock, err);
    if (listening < 0)
        return listening;
    const int fds[] = { fuse, listening };
    rc = a->anew ? -ENODEV : mapper_process_take(host, image->early, m, image->key_file, fds, &a->pid);
    a->spare = rc == 1;
    if (rc < 0)
        rc = mapper_process_start(host, m, image->key_file, fds, &a->pid, err);
    if (rc < 0)
        return not_absent(rc, err);
    /* The helper's copies must be the last ones: when it ends, the file and the socket are to die with it. */
    (void)close(steal_fd(&fuse));
    (void)close(steal_fd(&listening));
    mapper_give_scope(host, image, m, a->pid, deadline); /* while it connects: it costs no time */
    return wait_ready(m, ms_given, deadline, err);
}

static int map_once(const struct mapper_host *host, const struct mapper_image *image, struct mapping *m,
                    struct attempt *a, moment deadline, struct error *err)
{
    int rc = map_in(host, image, m, a, deadline, err);
    if (rc < 0)
        map_undo(m, a);
    else
        command_disown(a->pid);
    return rc;
}

static int fuse_map(const struct mapper_host *host, const struct mapper_image *image, moment deadline,
                    struct mapping *ret, struct error *err)
{
    struct mapping m = { .mapper = &mapper_fuse, .name = *image->name, .ro = image->ro, .control = -1 };
    struct attempt first = { .anew = false }, again = { .anew = true };
    identity_stamped_id(m.id);
    (void)snprintf(m.image_id, sizeof m.image_id, "%s", image->id);
    int rc = path_of(m.file, sizeof m.file, host->run_dir, m.id, ".img", err);
    if (rc < 0)
        return rc;
    rc = map_once(host, image, &m, &first, deadline, err);
    /* What happened to a spare one while it waited (its client was fenced, its key taken away) is no reason.
     */
    if (rc < 0 && rc != -EBUSY && rc != -ENOENT && first.spare && clock_left_ms(deadline) > 0)
        rc = map_once(host, image, &m, &again, deadline, err);
    if (rc == 0)
        *ret = m;
    return rc;
}

static int refuse_open(const struct mapping *m, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    return error_set(err, -EBUSY, "the file of image '%s' is still open", image_name_full(&m->name, full));
}

static int fuse_wait_closed(struct mapping *m, moment deadline, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    json_auto_t *reply = NULL;
    int left = clock_left_ms(deadline);
    int rc = mapper_control_call(m, json_pack("{s:s, s:i}", "do", "wait-closed", "ms", left),
                                 clock_in_ms(left + HELLO_MS), &reply, err);
    if (mapper_control_is_gone(rc))
        return 0; /* and with it the only way to the image */
    if (rc < 0)
        return error_prefix(err, "cannot ask the mapper of '%s'", image_name_full(&m->name, full));
    json_int_t opens = json_integer_value(json_object_get(reply, "opens"));
    if (opens > 0)
        return refuse_open(m, err);
    return 0;
}

/* 0, or -EBUSY: it is open, or was busy until the deadline. Not mounted is success. */
static int file_unmount(struct mapping *m, moment deadline, struct error *err)
{
    struct mapping_health h;
    while (umount2(m->file, UMOUNT_NOFOLLOW) < 0) {
        int why = errno;
        if (why == EINVAL || why == ENOENT)
            return 0;
        int rc = mapper_fuse.health(m, &h, err);
        if (rc < 0)
            return rc;
        if (h.state == MAPPING_GONE && umount2(m->file, MNT_DETACH) == 0)
            return 0;
        if (h.state != MAPPING_GONE && h.opens > 0)
            return refuse_open(m, err);
        if (why != EBUSY || !clock_left_ms(deadline))
            return error_set(err, -why, "cannot unmount the image's file %s: %s", m->file, error_text(why));
        clock_pause_ms(RETRY_MS);
    }
    return 0;
}

/* Waits until the process is gone: 0 or -ETIMEDOUT. The kernel takes a few milliseconds to take a process
 * with that many threads down. */
static int wait_gone(const struct mapping *m, moment deadline)
{
    auto_close int fd = (int)syscall(SYS_pidfd_open, m->pid, 0);
    if (fd < 0 || !procs_alive(m->pid, m->pid_start))
        return 0;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int n;
    while ((n = poll(&p, 1, clock_left_ms(deadline))) < 0 && errno == EINTR)
        ;
    return n == 0 ? -ETIMEDOUT : 0;
}

static void mapping_forget(struct mapping *m)
{
    if (m->control >= 0)
        (void)close(steal_fd(&m->control));
    files_remove(m);
}

static int fuse_unmap(const struct mapper_host *host, struct mapping *m, moment deadline, struct error *err)
{
    (void)host;
    char full[IMAGE_NAME_MAX + 1];
    int rc = file_unmount(m, deadline, err);
    if (rc < 0)
        return rc;
    m->going = true;
    rc = mapper_control_call(m, mapper_control_question("stop"), deadline, NULL, err);
    if (mapper_control_is_gone(rc) && m->ro)
        rc = 0;
    else if (mapper_control_is_gone(rc))
        rc = error_set(
            err, -EIO,
            "the mapper of '%s' had ended before it was told to; whether its last writes are on disk "
            "is not known, and its lock may be left",
            image_name_full(&m->name, full));
    if (rc < 0 && rc != -EIO)
        return error_prefix(err, "the mapper of '%s' cannot let go of it", image_name_full(&m->name, full));
    mapping_forget(m);
    return rc;
}

static int fuse_health(struct mapping *m, struct mapping_health *ret, struct error *err)
{
    json_auto_t *reply = NULL;
    *ret = (struct mapping_health){ .state = MAPPING_GONE };
    if (!procs_alive(m->pid, m->pid_start))
        return 0;
    int rc = mapper_control_call(m, mapper_control_question("hello"), clock_in_ms(HELLO_MS), &reply, err);
    if (mapper_control_is_gone(rc))
        return 0;
    if (rc < 0)
        return error_prefix(err, "the mapper of '%s' (pid %d) does not answer", m->name.image, (int)m->pid);
    if (mapper_control_health(reply, ret) < 0)
        return error_set(err, -EPROTO, "the answer of the mapper of '%s' is not as expected", m->name.image);
    return 0;
}

static int fuse_ask(int control)
{
    struct error err;
    json_auto_t *request = mapper_control_question("hello");
    return channel_send(control, request, clock_now(), &err);
}

static int fuse_hear(int control, struct mapping_health *ret)
{
    struct error err;
    json_auto_t *said = NULL;
    int rc = channel_receive(control, clock_now(), &said, &err);
    if (rc < 0)
        return rc == -EPIPE ? rc : 0;
    const char *event = json_string_value(json_object_get(said, "event"));
    if (!event)
        return mapper_control_health(said, ret) == 0;
    if (strcmp(event, "lost") != 0)
        return 0;
    const char *why = json_string_value(json_object_get(said, "why"));
    *ret = (struct mapping_health){ .state = MAPPING_LOST };
    (void)snprintf(ret->why, sizeof ret->why, "%s", why ? why : "");
    return 1;
}

static int fuse_change(struct mapping *m, const struct image_change *change, moment deadline,
                       struct error *err)
{
    json_t *request = json_pack("{s:s, s:i, s:I, s:s}", "do", "change", "what", (int)change->what, "size",
                                (json_int_t)change->size, "snap", change->snap);
    int rc = mapper_control_call(m, request, deadline, NULL, err);
    return mapper_control_is_gone(rc) ? error_set(err, -EIO, "the mapper of '%s' has ended", m->name.image)
                                      : rc;
}

static bool is_mapping(void *arg, pid_t pid, char *const *argv)
{
    (void)pid;
    const char *id = argv ? mapper_identity_argument(argv, "--mapping=") : NULL;
    return !argv || /* it may be */
           (id && strcmp(id, *(const char **)arg) == 0);
}

static bool fuse_alive(const struct mapper_host *host, const char *id)
{
    (void)host;
    return procs_each(ARGV0, is_mapping, &id) != 0; /* nor could it be said that it is not */
}

/* What find() has come upon. */
struct search {
    const struct mapper_host *host;
    bool (*found)(void *arg, const struct mapping *m);
    void *arg;
    char (*ids)[MAPPING_ID_LEN +
                1]; /* of living mappers, also of those of others and those that do not answer */
    size_t nids;
    bool incomplete;  /* not all of them are in ids */
    bool unknown;     /* one hangs, and does not let itself be known: nothing is cleared away */
    const char *only; /* the one that is looked for; NULL: all */
    moment patience;  /* with what uses a dead mapper's file still */
    bool busy;        /* something does */
};

/* A mapper that does not answer because it is about to end: without a daemon it does, unless it is open.
 * True: it has. */
static bool search_await_end(struct mapping *m, pid_t pid, int64_t ms)
{
    m->pid = pid;
    return procs_start_time(pid, &m->pid_start) < 0 || wait_gone(m, clock_in_ms(ms)) == 0;
}

static int take_argument(char *const *argv, const char *name, char *to, size_t size)
{
    const char *text = mapper_identity_argument(argv, name);
    if (!text || strlen(text) >= size)
        return -EINVAL;
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

/* What is known of one that does not answer: it is alive all the same, and what is mounted from it goes on
 * with it. */
static int search_fill(struct mapping *m, pid_t pid, char *const *argv)
{
    if (!argv || take_argument(argv, "--pool=", m->name.pool, sizeof m->name.pool) < 0 ||
        take_argument(argv, "--image=", m->name.image, sizeof m->name.image) < 0 ||
        take_argument(argv, "--image-id=", m->image_id, sizeof m->image_id) < 0)
        return -EINVAL;
    (void)take_argument(argv, "--namespace=", m->name.ns, sizeof m->name.ns);
    m->ro = mapper_identity_argument(argv, "--ro") != NULL;
    m->pid = pid;
    return procs_start_time(pid, &m->pid_start);
}

/* A living mapper of ours: connect again and offer it. False: it has ended meanwhile. */
static bool search_offer(struct search *s, pid_t pid, const char *id, char *const *argv)
{
    struct error err;
    json_auto_t *request = mapper_control_question("hello"), *reply = NULL;
    char sock[PATH_MAX];
    struct mapping m = { .mapper = &mapper_fuse, .control = -1 };
    (void)snprintf(m.id, sizeof m.id, "%s", id);
    if (path_of(m.file, sizeof m.file, s->host->run_dir, id, ".img", &err) < 0)
        return true;
    mapper_control_path(&m, sock);
    auto_close int fd = channel_connect(sock, &err);
    int64_t ms = s->only ? AGAIN_MS : HELLO_MS;
    int rc = fd < 0 ? fd : channel_call(fd, request, clock_in_ms(ms), &reply, &err);
    if (rc == 0)
        rc = mapper_control_fill(&m, reply, &err);
    bool gone = mapper_control_is_gone(rc);
    if (gone && search_await_end(&m, pid, ms))
        return false;
    if (rc < 0 && !s->only)
        log_warning("mapper mapping=%s pid=%d does not answer yet: %s", id, (int)pid, err.msg);
    /* One that has hung up is on its way out, however long that takes. */
    if (rc < 0 && (gone || search_fill(&m, pid, argv) < 0))
        return true;
    /* One that is still starting, too: left alone it would end by itself, and leave its files. */
    m.control = fd;
    if (s->found(s->arg, &m))
        (void)steal_fd(&fd); /* the connection is theirs now */
    return true;
}

static bool search_process(void *arg, pid_t pid, char *const *argv)
{
    struct search *s = arg;
    char hung[MAPPING_ID_LEN + 1];
    const char *instance = argv ? mapper_identity_argument(argv, "--instance=") : s->host->instance;
    const char *id = argv ? mapper_identity_argument(argv, "--mapping=")
                     : mapper_identity_socket(s->host->run_dir, pid, hung) ? hung
                                                                           : NULL;
    s->unknown |= !argv && !id;
    if (!instance || !id || !text_is_hex(id, MAPPING_ID_LEN) || (s->only && strcmp(s->only, id) != 0))
        return false;
    void *more = reallocarray(s->ids, s->nids + 1, sizeof *s->ids);
    if (!more) {
        s->incomplete = true;
        return true;
    }
    s->ids = more;
    memcpy(s->ids[s->nids++], id, MAPPING_ID_LEN + 1);
    if (strcmp(instance, s->host->instance) == 0 && !search_offer(s, pid, id, argv))
        s->nids--; /* what it has left may be cleared away */
    return false;
}

static bool search_alive(const struct search *s, const char *id)
{
    for (size_t i = 0; i < s->nids; i++)
        if (memcmp(s->ids[i], id, MAPPING_ID_LEN) == 0)
            return true;
    return false;
}

/* "<id>.img" or "<id>.sock" of no living mapper. */
static bool search_is_left_over(const struct search *s, const char *file)
{
    char id[MAPPING_ID_LEN + 1];
    const char *suffix = strlen(file) > MAPPING_ID_LEN ? file + MAPPING_ID_LEN : "";
    (void)snprintf(id, sizeof id, "%s", file);
    return text_is_hex(id, MAPPING_ID_LEN) && (strcmp(suffix, ".img") == 0 || strcmp(suffix, ".sock") == 0) &&
           !search_alive(s, id);
}

/* The mount of a dead mapper's file: its connection is aborted, so nothing waits for an answer in it. One
 * with a loop device on it stays: by its name the volume is found that is still mounted somewhere. */
static bool search_is_dead_mount(void *arg, const struct mount_entry *e)
{
    struct search *s = arg;
    size_t len = strlen(s->host->run_dir);
    if (strcmp(e->fstype, FSTYPE) != 0 || strncmp(e->mountpoint, s->host->run_dir, len) != 0 ||
        e->mountpoint[len] != '/' || !search_is_left_over(s, e->mountpoint + len + 1))
        return false;
    /* One that only a helper of an earlier daemon has open, which ends, too, is nobody's way to a volume. */
    struct device_node node;
    int why = umount2(e->mountpoint, UMOUNT_NOFOLLOW) < 0 ? errno : 0;
    if (why == EBUSY && loop_named(e->mountpoint, &node) == 0)
        why = umount2(e->mountpoint, MNT_DETACH) < 0 ? errno : 0;
    s->busy = s->busy || why;
    if (!why)
        log_notice("unmounted file=%s: its mapper is dead", e->mountpoint);
    else if (clock_left_ms(s->patience) == 0)
        log_warning("cannot unmount %s, which a dead mapper left, yet: %s", e->mountpoint, error_text(why));
    return false;
}

/* A helper of an earlier daemon ends with it, and the loop device that it had open then goes: in a moment. */
static int search_clear_mounts(struct search *s, struct error *err)
{
    s->patience = clock_in_ms(BUSY_MS);
    for (;;) {
        bool last = clock_left_ms(s->patience) == 0;
        s->busy = false;
        int rc = mountinfo_each("self", search_is_dead_mount, s, err);
        if (rc < 0 || !s->busy || last)
            return rc;
        clock_pause_ms(BUSY_POLL_MS);
    }
}

static int search_clear(struct search *s, struct error *err)
{
    char path[PATH_MAX];
    int rc = search_clear_mounts(s, err);
    if (rc < 0)
        return rc;
    auto_dir DIR *dir = opendir(s->host->run_dir);
    if (!dir)
        return error_set(err, -errno, "cannot read %s: %s", s->host->run_dir, error_text(errno));
    for (const struct dirent *e; (e = readdir(dir));)
        if (search_is_left_over(s, e->d_name) &&
            path_of(path, sizeof path, s->host->run_dir, e->d_name, "", err) == 0 && unlink(path) < 0)
            log_warning("cannot remove %s, which a dead mapper left: %s", path, error_text(errno));
    return 0;
}

static int fuse_find(const struct mapper_host *host, bool (*found)(void *arg, const struct mapping *m),
                     void *arg, struct error *err)
{
    struct search s = { .host = host, .found = found, .arg = arg };
    int rc = procs_each(ARGV0, search_process, &s);
    if (s.unknown)
        log_warning("a mapper hangs, and does not tell whose it is: nothing is cleared away");
    if (rc < 0)
        error_set(err, rc, "cannot look which mappers there are: %s", error_text(rc));
    else if (s.incomplete)
        rc = error_set(err, -ENOMEM, "out of memory");
    else
        rc = s.unknown ? 0 : search_clear(&s, err);
    free(s.ids);
    return rc;
}

static bool keep_one(void *arg, const struct mapping *m)
{
    *(struct mapping *)arg = *m;
    return true;
}

static int fuse_find_one(const struct mapper_host *host, const char *id, struct mapping *ret)
{
    struct mapping m = { .mapper = NULL };
    struct search s = { .host = host, .found = keep_one, .arg = &m, .only = id };
    (void)procs_each(ARGV0, search_process, &s);
    free(s.ids);
    if (m.mapper)
        *ret = m;
    return m.mapper != NULL;
}

static int fuse_connect(const struct mapping *m)
{
    struct error ignored;
    char path[PATH_MAX];
    mapper_control_path(m, path);
    return channel_connect(path, &ignored);
}

const struct mapper mapper_fuse = {
    .name = "fuse",
    .probe = fuse_probe,
    .map = fuse_map,
    .wait_closed = fuse_wait_closed,
    .unmap = fuse_unmap,
    .await_end = wait_gone,
    .alive = fuse_alive,
    .health = fuse_health,
    .change = fuse_change,
    .ask = fuse_ask,
    .hear = fuse_hear,
    .fail = fuse_abort,
    .find = fuse_find,
    .find_one = fuse_find_one,
    .connect = fuse_connect,
    .prepare = mapper_process_prepare,
    .start_early = mapper_process_start_early,
    .drop_early = mapper_process_drop_early,
};
