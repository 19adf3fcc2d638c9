/* SPDX-License-Identifier: MIT */
#include "host/mapper-process.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/cleanup.h"
#include "base/command.h"
#include "base/log.h"
#include "host/helper.h"

#define SEND_MS  1000
#define AGAIN_MS 30000 /* after one that ended by itself */

/* The words of a mapping take its place in the argv: the longest that there are. */
#define ROOM (3 * NAME_PART_MAX + IMAGE_ID_MAX + MAPPING_ID_LEN + 80)

static struct {
    pthread_mutex_t lock; /* a leaf */
    struct mapper_early process;
    moment again_at;
} spare = { .lock = PTHREAD_MUTEX_INITIALIZER, .process = { .channel = -1 } };

int mapper_process_start(const struct mapper_host *host, const struct mapping *m, const char *key_file,
                         const int fds[static 2], pid_t *ret, struct error *err)
{
    char program[PATH_MAX], text[10][PATH_MAX + 32];
    if (helper_path("mapper", program, sizeof program) < 0)
        return error_set(err, -ENAMETOOLONG, "the path of %s is too long", MAPPER_PROCESS_PROGRAM);
    const char *const names[] = { "instance", "mapping", "pool",    "namespace", "image",
                                  "image-id", "conf",    "cluster", "user",      "key-file" };
    const char *const values[] = {
        host->instance, m->id,           m->name.pool,  m->name.ns, m->name.image,
        m->image_id,    host->ceph_conf, host->cluster, host->user, key_file ? key_file : ""
    };
    const char *argv[14] = { MAPPER_PROCESS_ARGV0 };
    unsigned n = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!*values[i]) /* the default namespace */
            continue;
        if (snprintf(text[i], sizeof text[i], "--%s=%s", names[i], values[i]) >= (int)sizeof text[i])
            return error_set(err, -ENAMETOOLONG, "the %s is too long", names[i]);
        argv[n++] = text[i];
    }
    char ms[48];
    (void)snprintf(ms, sizeof ms, "--connect-ms=%lld", (long long)host->connect_ms);
    argv[n++] = ms;
    if (m->ro)
        argv[n++] = "--ro";
    argv[n] = NULL;
    return command_spawn(program, argv, fds, 2, ret, err);
}

static struct timespec conf_time(const struct mapper_host *host)
{
    struct stat st;
    return stat(host->ceph_conf, &st) < 0 ? (struct timespec){ 0 } : st.st_mtim;
}

void mapper_process_drop_early(struct mapper_early *early)
{
    if (!early->pid)
        return;
    (void)close(steal_fd(&early->channel));
    command_disown(early->pid);
    early->pid = 0;
}

/* Nothing comes from it but its end. */
static bool has_ended(const struct mapper_early *early)
{
    struct pollfd p = { .fd = early->channel, .events = POLLIN };
    return poll(&p, 1, 0) != 0;
}

/* Has it read the present configuration? */
static bool is_current(const struct mapper_host *host, const struct mapper_early *early)
{
    struct timespec now = conf_time(host);
    return now.tv_sec == early->conf_time.tv_sec && now.tv_nsec == early->conf_time.tv_nsec;
}

/* Is there a spare one that is alive and current? One that is not is let go. */
static bool spare_is_fit(const struct mapper_host *host)
{
    if (!spare.process.pid)
        return false;
    bool ended = has_ended(&spare.process);
    if (!ended && is_current(host, &spare.process))
        return true;
    if (ended)
        spare.again_at = clock_in_ms(AGAIN_MS);
    mapper_process_drop_early(&spare.process);
    return false;
}

static int spawn(const struct mapper_host *host, bool late, int theirs, pid_t *ret, struct error *err)
{
    char program[PATH_MAX], text[5][PATH_MAX + 32], room[ROOM + 1];
    if (helper_path("mapper", program, sizeof program) < 0)
        return error_set(err, -ENAMETOOLONG, "the path of %s is too long", MAPPER_PROCESS_PROGRAM);
    memset(room, '-', ROOM);
    room[ROOM] = '\0';
    (void)snprintf(text[0], sizeof text[0], "--instance=%s", host->instance);
    (void)snprintf(text[1], sizeof text[1], "--conf=%s", host->ceph_conf);
    (void)snprintf(text[2], sizeof text[2], "--cluster=%s", host->cluster);
    (void)snprintf(text[3], sizeof text[3], "--user=%s", host->user);
    (void)snprintf(text[4], sizeof text[4], "--connect-ms=%lld", (long long)host->connect_ms);
    const char *const name = MAPPER_PROCESS_ARGV0;
    const char *argv[] = {
        name, "--late", text[0], text[1], text[2], text[3], text[4], "--spare", room, NULL
    };
    if (!late)
        argv[1] = name;
    /* twice: where /dev/fuse is going to be, nothing else may be until then */
    return command_spawn(program, late ? argv : argv + 1, (const int[]){ theirs, theirs }, 2, ret, err);
}

/* Starts one that waits for its image. late: it does not connect before. */
static int wait_start(const struct mapper_host *host, bool late, struct mapper_early *ret, struct error *err)
{
    int pair[2];
    *ret = (struct mapper_early){ .channel = -1, .conf_time = conf_time(host) };
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set(err, -errno, "cannot make a socket: %s", error_text(errno));
    auto_close int ours = pair[0], theirs = pair[1];
    int rc = spawn(host, late, theirs, &ret->pid, err);
    if (rc < 0)
        ret->pid = 0;
    else
        ret->channel = steal_fd(&ours);
    return rc;
}

void mapper_process_prepare(const struct mapper_host *host)
{
    struct error err;
    if (!host->spare)
        return;
    LOCK_SCOPE(&spare.lock);
    if (spare_is_fit(host) || clock_now() < spare.again_at)
        return;
    if (wait_start(host, false, &spare.process, &err) < 0) {
        spare.again_at = clock_in_ms(AGAIN_MS);
        log_notice("there is no spare mapper: %s", err.msg);
    }
}

void mapper_process_start_early(const struct mapper_host *host, struct mapper_early *ret)
{
    struct error ignored; /* whoever maps starts one, and says what is wrong */
    *ret = (struct mapper_early){ .channel = -1 };
    if (host->spare) {
        LOCK_SCOPE(&spare.lock);
        if (spare_is_fit(host))
            return;
    }
    (void)wait_start(host, true, ret, &ignored);
}

/* Tells it what to map. It is gone from *early on success, and when it has ended. */
static int give(struct mapper_early *early, const struct mapping *m, const char *key_file,
                const int fds[static 2], pid_t *ret)
{
    struct error err;
    json_auto_t *what = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "mapping", m->id, "pool",
                                  m->name.pool, "namespace", m->name.ns, "image", m->name.image, "image_id",
                                  m->image_id, "ro", m->ro, "key_file", key_file ? key_file : "");
    if (!what)
        return -ENODEV;
    if (channel_send_fds(early->channel, what, fds, 2, clock_in_ms(SEND_MS), &err) < 0) {
        mapper_process_drop_early(early);
        return -ENODEV;
    }
    *ret = early->pid;
    (void)close(steal_fd(&early->channel));
    early->pid = 0;
    return 0;
}

int mapper_process_take(const struct mapper_host *host, struct mapper_early *early, const struct mapping *m,
                        const char *key_file, const int fds[static 2], pid_t *ret)
{
    if (host->spare && !key_file) {
        LOCK_SCOPE(&spare.lock);
        if (spare_is_fit(host) && give(&spare.process, m, NULL, fds, ret) == 0)
            return 1;
    }
    if (!early || !early->pid || has_ended(early) || !is_current(host, early))
        return -ENODEV;
    return give(early, m, key_file, fds, ret);
}
