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
    pid_t pid;            /* 0: there is none */
    int channel;
    struct timespec conf_time; /* of the ceph.conf that it has read */
    moment again_at;
} spare = { .lock = PTHREAD_MUTEX_INITIALIZER, .channel = -1 };

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

static void drop(void)
{
    if (!spare.pid)
        return;
    (void)close(steal_fd(&spare.channel));
    command_disown(spare.pid);
    spare.pid = 0;
}

/* Nothing comes from it but its end. */
static bool has_ended(void)
{
    struct pollfd p = { .fd = spare.channel, .events = POLLIN };
    return poll(&p, 1, 0) != 0;
}

/* Is there one, alive, that has read the present configuration? One that is not is let go. */
static bool is_fit(const struct mapper_host *host)
{
    if (!spare.pid)
        return false;
    struct timespec now = conf_time(host);
    bool ended = has_ended();
    if (!ended && now.tv_sec == spare.conf_time.tv_sec && now.tv_nsec == spare.conf_time.tv_nsec)
        return true;
    if (ended)
        spare.again_at = clock_in_ms(AGAIN_MS);
    drop();
    return false;
}

static int spare_start(const struct mapper_host *host, int theirs, struct error *err)
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
    const char *argv[] = { name, text[0], text[1], text[2], text[3], text[4], "--spare", room, NULL };
    /* twice: where /dev/fuse is going to be, nothing else may be until then */
    return command_spawn(program, argv, (const int[]){ theirs, theirs }, 2, &spare.pid, err);
}

void mapper_process_prepare(const struct mapper_host *host)
{
    struct error err;
    int pair[2];
    if (!host->spare)
        return;
    LOCK_SCOPE(&spare.lock);
    if (is_fit(host) || clock_now() < spare.again_at)
        return;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return;
    auto_close int ours = pair[0], theirs = pair[1];
    spare.conf_time = conf_time(host);
    if (spare_start(host, theirs, &err) < 0) {
        spare.pid = 0;
        spare.again_at = clock_in_ms(AGAIN_MS);
        log_notice("there is no spare mapper: %s", err.msg);
        return;
    }
    spare.channel = steal_fd(&ours);
}

int mapper_process_take(const struct mapper_host *host, const struct mapping *m, const int fds[static 2],
                        pid_t *ret)
{
    struct error err;
    json_auto_t *what =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "mapping", m->id, "pool", m->name.pool, "namespace",
                  m->name.ns, "image", m->name.image, "image_id", m->image_id, "ro", m->ro);
    LOCK_SCOPE(&spare.lock);
    if (!what || !is_fit(host))
        return -ENODEV;
    if (channel_send_fds(spare.channel, what, fds, 2, clock_in_ms(SEND_MS), &err) < 0) {
        drop();
        return -ENODEV;
    }
    *ret = spare.pid;
    (void)close(steal_fd(&spare.channel));
    spare.pid = 0;
    return 0;
}
