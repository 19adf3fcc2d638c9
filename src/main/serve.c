/* SPDX-License-Identifier: MIT */
#include "main/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "api/http.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "host/fs.h"
#include "main/config.h"
#include "main/directories.h"
#include "main/journal.h"
#include "main/listen.h"
#include "main/privileges.h"
#include "main/sandbox.h"
#include "main/watchdog.h"
#include "volume/volumes.h"

#define TICK_MS     1000
#define DRAIN_EXTRA 5000 /* ms beyond the budget: a request that keeps it can still be answered */
#define FILES_MAX   65536

struct server {
    struct config config;
    struct listener listener;
    int lock; /* of state-dir */
    int plugin_fd;
    struct volumes *volumes;
    struct http *plugin, *metrics;
};

/* The words of mkfs- and mount-options are the file systems' own business. */
static int check_fs_options(const struct config *config, struct error *err)
{
    const struct settings *s = &config->settings;
    const struct fs *fs = fs_find(s->fstype);
    if (!fs)
        return error_set(err, -EINVAL, "%s: '%s' is none of: %s", config_origin(config, "fstype"), s->fstype,
                         fs_names());
    if (fs_check_mkfs_options(fs, s->mkfs_options, err) < 0)
        return error_prefix(err, "%s", config_origin(config, "mkfs-options"));
    if (fs_check_mount_options(fs, s->mount_options, err) < 0)
        return error_prefix(err, "%s", config_origin(config, "mount-options"));
    return 0;
}

/* What a process is, before it has threads and children. */
static int become_daemon(struct error *err)
{
    struct rlimit files;
    sigset_t waited;
    int rc = privileges_drop(err);
    if (rc < 0)
        return rc;
    (void)umask(0077);
    /* no core dump and no debugger: the cluster's key is in our memory */
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        return error_set(err, -errno, "cannot forbid core dumps: %s", error_text(errno));
    /* a thread and a descriptor per connection, and librados' own: systemd's soft limit of 1024 is for
     * select(2) */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_MAX) {
        files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    sigemptyset(&waited);
    sigaddset(&waited, SIGTERM);
    sigaddset(&waited, SIGINT);
    /* before the first thread, which inherits it: only the main thread takes them, by waiting */
    rc = pthread_sigmask(SIG_BLOCK, &waited, NULL);
    return rc ? error_set(err, -rc, "cannot block signals: %s", error_text(rc)) : 0;
}

static void log_started(const struct server *server)
{
    const struct settings *s = &server->config.settings;
    char pools[POOLS_MAX * (NAME_PART_MAX + 2)] = "";
    size_t len = 0;
    for (unsigned i = 0; i < s->npools; i++)
        len += (size_t)snprintf(pools + len, sizeof pools - len, "%s%s", i ? "," : "", s->pools[i]);
    log_info("started version=%s instance=%s pools=%s user=%s socket=%s config=%s", RBDVOL_VERSION, s->name,
             pools, s->user, server->listener.from_systemd ? "(from systemd)" : s->socket,
             *server->config.file ? server->config.file : "(none)");
}

static int start_metrics(struct server *server, struct error *err)
{
    const char *address = server->config.settings.metrics_listen;
    if (!*address)
        return 0;
    int fd = listen_loopback(address, err);
    if (fd < 0)
        return error_prefix(err, "%s", config_origin(&server->config, "metrics-listen"));
    return http_start(fd, server->volumes, true, &server->metrics, err);
}

static int start(struct server *server, struct error *err)
{
    const struct settings *s = &server->config.settings;
    int rc = check_fs_options(&server->config, err);
    if (rc < 0 || (rc = become_daemon(err)) < 0 || (rc = directories_make(s, &server->lock, err)) < 0 ||
        (rc = sandbox_check_visible(s, err)) < 0 || (rc = listener_open(s, &server->listener, err)) < 0 ||
        (rc = volumes_start(s, &server->volumes, err)) < 0)
        return rc;
    server->plugin_fd = steal_fd(&server->listener.fd);
    rc = http_start(server->plugin_fd, server->volumes, false, &server->plugin, err);
    return rc < 0 ? rc : start_metrics(server, err);
}

/* Until a signal to stop: tells systemd what `systemctl status` shows, and that requests are answered. */
static int run(struct server *server)
{
    char told[256] = "", now[256];
    struct watchdog watchdog;
    int64_t tick = TICK_MS;
    sigset_t waited;
    sigemptyset(&waited);
    sigaddset(&waited, SIGTERM);
    sigaddset(&waited, SIGINT);
    watchdog_init(&watchdog, server->plugin_fd);
    if (watchdog.interval_ms && watchdog.interval_ms / 4 < tick)
        tick = watchdog.interval_ms / 4;
    (void)sd_notify(0, "READY=1");
    for (;;) {
        volumes_summary(server->volumes, now, sizeof now);
        if (strcmp(now, told) != 0) {
            (void)sd_notifyf(0, "STATUS=%s", now);
            memcpy(told, now, sizeof told);
        }
        (void)watchdog_tick(&watchdog);
        struct timespec t = { .tv_sec = tick / 1000, .tv_nsec = tick % 1000 * 1000000 };
        int sig = sigtimedwait(&waited, NULL, &t);
        if (sig > 0)
            return sig;
    }
}

/* Accepts no more, answers what runs, leaves volumes mounted. Returns the number of requests that would not
 * end. */
static unsigned stop(struct server *server)
{
    int64_t budget = server->config.settings.budget_ms;
    (void)sd_notifyf(0, "STOPPING=1\nSTATUS=answering the last requests");
    /* The file first, then the socket behind it: whoever comes now cannot connect, and comes again with the
     * request whole. */
    listener_remove(&server->listener);
    if (server->plugin)
        listener_refuse(&server->listener, server->plugin_fd);
    unsigned left = http_stop(server->plugin, budget + DRAIN_EXTRA);
    left += http_stop(server->metrics, TICK_MS);
    server->plugin = server->metrics = NULL;
    return left;
}

static void keep_watchdog_away(void)
{
    /* Draining takes up to the budget, longer than WATCHDOG_USEC: TimeoutStopSec= watches over it instead. */
    (void)sd_notify(0, "WATCHDOG_USEC=0");
}

int serve_main(int argc, char *const *argv)
{
    struct server server = { .listener = { .fd = -1 }, .lock = -1, .plugin_fd = -1 };
    struct error err = { 0 };
    if (config_load(argc, (const char *const *)argv, (const char *const *)environ, &server.config, &err) <
        0) {
        log_error("cannot start: %s", err.msg);
        return 2;
    }
    const struct settings *s = &server.config.settings;
    log_set_level(s->log_level);
    journal_start();
    if (geteuid() != 0) {
        log_error("cannot start: 'rbdvol serve' mounts file systems and must be run as root");
        return 1;
    }
    if (start(&server, &err) < 0) {
        log_error("cannot start: %s", err.msg);
        if (stop(&server) == 0)
            volumes_stop(server.volumes);
        _exit(1);
    }
    log_started(&server);
    int sig = run(&server);
    log_info("stopping signal=%s", sig == SIGTERM ? "TERM" : "INT");
    keep_watchdog_away();
    unsigned left = stop(&server);
    if (left) {
        log_warning(
            "%u requests did not end and are given up: the next start finishes or undoes what they began",
            left);
        _exit(0); /* their threads still use all there is */
    }
    volumes_stop(server.volumes);
    log_info("stopped version=%s instance=%s; volumes stay mounted", RBDVOL_VERSION, s->name);
    config_free(&server.config);
    /* A thread may still be inside rados_connect: exit() would take librados' tables away from under it. */
    _exit(0);
}
