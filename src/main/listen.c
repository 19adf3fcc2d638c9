/* SPDX-License-Identifier: MIT */
#include "main/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "main/options.h"

#define BACKLOG 4096 /* a full one refuses a non-blocking connect, and Docker's is one */

/* What of the options systemd has decided: its .socket unit. */
static void tell_unused(const struct settings *settings, int fd)
{
    uint32_t mode;
    if (sd_is_socket_unix(fd, SOCK_STREAM, 1, settings->socket, 0) == 0)
        log_notice("the socket that systemd passed is not at %s: the option 'socket' has no effect",
                   settings->socket);
    if (text_parse_mode(option_find("socket-mode")->preset, &mode) < 0 || settings->socket_mode != mode)
        log_notice("systemd made the socket: the option 'socket-mode' has no effect; SocketMode= of the "
                   "socket unit has");
    if (strcmp(settings->socket_group, option_find("socket-group")->preset) != 0)
        log_notice("systemd made the socket: the option 'socket-group' has no effect; SocketGroup= of the "
                   "socket unit has");
}

/* 1: systemd passed the socket; 0: it passed none. */
static int from_systemd(const struct settings *settings, struct listener *ret, struct error *err)
{
    int n = sd_listen_fds(1), found = -1;
    if (n < 0)
        return error_set(err, n, "cannot take the socket over from systemd: %s", error_text(n));
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
        if (found < 0 && sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0)
            found = fd;
        else
            return error_set(err, -EINVAL,
                             "systemd passed %d sockets, but one listening UNIX stream socket is wanted: "
                             "have one ListenStream= in the .socket unit, with a path",
                             n);
    }
    if (found < 0)
        return 0;
    tell_unused(settings, found);
    *ret = (struct listener){ .fd = found, .from_systemd = true };
    return 1;
}

static int group_of(const char *group, gid_t *ret, struct error *err)
{
    uint32_t number;
    if (text_parse_u32(group, UINT32_MAX - 1, &number) == 0) {
        *ret = number;
        return 0;
    }
    errno = 0;
    const struct group *g = getgrnam(group);
    if (!g)
        return error_set(err, errno ? -errno : -EINVAL, "there is no group '%s' (option socket-group)",
                         group);
    *ret = g->gr_gid;
    return 0;
}

/* Clears the path: a dead socket is removed; a live one, and anything that is no socket, is not touched. */
static int make_room(const char *path, const struct sockaddr_un *addr, struct error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : error_set(err, -errno, "cannot look at %s: %s", path, error_text(errno));
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, -EEXIST,
                         "cannot listen at %s: something that is not a socket is there; remove it, or choose "
                         "another path with the option socket",
                         path);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(err, -errno, "cannot make a socket: %s", error_text(errno));
    /* EAGAIN: somebody listens, and has more to do than it accepts. */
    if (connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 || errno == EAGAIN)
        return error_set(
            err, -EADDRINUSE,
            "another process already listens at %s: stop it ('ss -xlp src %s' names it), or give "
            "this instance another name or socket",
            path, path);
    if (errno != ECONNREFUSED)
        return error_set(err, -errno, "cannot tell whether somebody listens at %s: %s", path,
                         error_text(errno));
    log_notice("replacing a socket that nobody listens at path=%s", path);
    return unlink(path) < 0 && errno != ENOENT
               ? error_set(err, -errno, "cannot remove %s: %s", path, error_text(errno))
               : 0;
}

static int bind_own(const struct settings *s, const struct sockaddr_un *addr, gid_t gid, struct listener *ret,
                    struct error *err)
{
    struct stat st;
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(err, -errno, "cannot make a socket: %s", error_text(errno));
    /* Our umask lets nobody but us connect until owner and mode are right. */
    if (bind(fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
        return error_set(err, -errno, "cannot listen at %s: %s", s->socket, error_text(errno));
    if (chown(s->socket, 0, gid) < 0 || chmod(s->socket, s->socket_mode) < 0 || stat(s->socket, &st) < 0 ||
        listen(fd, BACKLOG) < 0) {
        int rc = error_set(err, -errno, "cannot listen at %s: %s", s->socket, error_text(errno));
        (void)unlink(s->socket);
        return rc;
    }
    *ret = (struct listener){ .fd = steal_fd(&fd), .dev = st.st_dev, .ino = st.st_ino };
    (void)snprintf(ret->path, sizeof ret->path, "%s", s->socket);
    return 0;
}

int listener_open(const struct settings *settings, struct listener *ret, struct error *err)
{
    int rc = from_systemd(settings, ret, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    char dir[sizeof addr.sun_path];
    gid_t gid = 0;
    if (strlen(settings->socket) >= sizeof addr.sun_path) /* option_set checked it */
        return error_set(err, -ENAMETOOLONG, "the path of the socket is too long");
    memcpy(addr.sun_path, settings->socket, strlen(settings->socket) + 1);
    (void)snprintf(dir, sizeof dir, "%s", settings->socket);
    char *slash = strrchr(dir, '/');
    *(slash == dir ? slash + 1 : slash) = '\0';
    if ((rc = group_of(settings->socket_group, &gid, err)) < 0 || (rc = file_mkdirs(dir, 0755, err)) < 0)
        return rc;
    /* Between our look at an old socket and our bind another daemon could do the same: one at a time. */
    auto_close int lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return error_set(err, -errno, "cannot lock the directory %s: %s", dir, error_text(errno));
    if ((rc = make_room(settings->socket, &addr, err)) < 0)
        return rc;
    return bind_own(settings, &addr, gid, ret, err);
}

void listener_refuse(struct listener *l, int fd)
{
    if (!l->from_systemd)
        (void)shutdown(fd, SHUT_RD);
}

void listener_remove(struct listener *l)
{
    struct stat st;
    if (l->path[0] && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        (void)unlink(l->path);
    l->path[0] = '\0';
}

int listen_loopback(const char *address, struct error *err)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    struct addrinfo hints = { .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST },
                    *found = NULL;
    if (!colon || (size_t)(colon - address) >= sizeof host)
        return error_set(err, -EINVAL, "'%s' is not an address with a port", address);
    bool brackets = address[0] == '[';
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address - 2 * brackets), address + brackets);
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0)
        return error_set(err, -EINVAL, "cannot listen at %s: %s", address, gai_strerror(rc));
    auto_close int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    rc = 0;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 16) < 0)
        rc = error_set(err, -errno, "cannot listen at %s: %s", address, error_text(errno));
    freeaddrinfo(found);
    return rc < 0 ? rc : steal_fd(&fd);
}
