/* SPDX-License-Identifier: MIT */
#include "main/watchdog.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

void watchdog_init(struct watchdog *w, int listening)
{
    uint64_t us = 0;
    *w = (struct watchdog){ .listening = listening };
    if (sd_watchdog_enabled(0, &us) > 0)
        w->interval_ms = (int64_t)(us / 1000);
}

/* Sends the question. The descriptor, or a negative errno. */
static int ask(int listening, moment deadline)
{
    static const char question[] = "GET /healthz HTTP/1.0\r\n\r\n";
    struct sockaddr_un addr;
    socklen_t len = sizeof addr;
    if (getsockname(listening, (struct sockaddr *)&addr, &len) < 0)
        return -errno;
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* connect(2) waits while the backlog is full, for as long as sending may take */
    int left = clock_left_ms(deadline);
    struct timeval patience = { .tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 };
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
        connect(fd, (const struct sockaddr *)&addr, len) < 0 ||
        send(fd, question, strlen(question), MSG_NOSIGNAL) < 0)
        return -errno;
    return steal_fd(&fd);
}

/* Any end of the connection proves that the loop turns: beyond the largest number of connections, the server
 * accepts and closes. Only silence does not. */
static bool answered(int fd, moment deadline)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int n;
    while ((n = poll(&p, 1, clock_left_ms(deadline))) < 0 && errno == EINTR)
        ;
    return n > 0;
}

bool watchdog_tick(struct watchdog *w)
{
    if (!w->interval_ms || (w->asked && clock_since_ms(w->asked) < w->interval_ms / 3))
        return true;
    w->asked = clock_now();
    moment deadline = clock_in_ms(w->interval_ms / 5);
    auto_close int fd = ask(w->listening, deadline);
    /* Somebody removed the socket's file: a restart would not bring one back that systemd made. */
    bool removed = fd == -ENOENT;
    if (removed && !w->told_removed)
        log_error("our socket was removed: nobody can reach the plugin; restart its socket unit, or rbdvol");
    w->told_removed = removed;
    if (fd < 0 && fd != -EPIPE && fd != -ECONNRESET && !removed) {
        log_error("watchdog: our own socket does not take connections: %s", error_text(fd));
        return false;
    }
    if (fd >= 0 && !answered(fd, deadline)) {
        log_error("watchdog: our own socket does not answer");
        return false;
    }
    (void)sd_notify(0, "WATCHDOG=1");
    return true;
}
