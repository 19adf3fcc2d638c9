/* SPDX-License-Identifier: MIT */
/* A server that does nothing but answer: bare SOCKET REPLY sends the file REPLY (head and body as rbdvol
 * wrote them) to each request, one connection per request as rbdvol does, from one thread over epoll. What a
 * request costs at least. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void check(long rc, const char *what)
{
    if (rc >= 0)
        return;
    (void)fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
    exit(1);
}

struct client {
    int fd;
    size_t got, sent;
    char request[4096];
};

static char *reply;
static size_t reply_len;

static void reply_read(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(fd, path);
    check(fstat(fd, &st), path);
    reply_len = (size_t)st.st_size;
    reply = malloc(reply_len);
    check(read(fd, reply, reply_len) == st.st_size ? 0 : -1, path);
    (void)close(fd);
}

/* Is the whole request there? */
static int is_whole(const struct client *c)
{
    const char *end = memmem(c->request, c->got, "\r\n\r\n", 4);
    const char *length = memmem(c->request, c->got, "Content-Length:", 15);
    if (!end)
        return 0;
    size_t body = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
    return c->got >= (size_t)(end - c->request) + 4 + body;
}

/* 1: done with this one. */
static int serve(int epoll, struct client *c)
{
    if (!is_whole(c)) {
        ssize_t n = recv(c->fd, c->request + c->got, sizeof c->request - c->got, 0);
        if (n <= 0)
            return n == 0 || errno != EAGAIN;
        c->got += (size_t)n;
        if (!is_whole(c))
            return 0;
    }
    while (c->sent < reply_len) {
        ssize_t n = send(c->fd, reply + c->sent, reply_len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct epoll_event e = { .events = EPOLLOUT, .data.ptr = c };
            (void)epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
            return 0;
        }
        if (n < 0)
            return 1;
        c->sent += (size_t)n;
    }
    return 1;
}

static void take(int epoll, int listening)
{
    for (int fd; (fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct client *c = calloc(1, sizeof *c);
        c->fd = fd;
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
        check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e), "epoll_ctl");
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct epoll_event e = { .events = EPOLLIN }, ready[64];
    if (argc != 3 || strlen(argv[1]) >= sizeof a.sun_path)
        return 2;
    reply_read(argv[2]);
    (void)strcpy(a.sun_path, argv[1]);
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
        epoll = epoll_create1(EPOLL_CLOEXEC);
    check(bind(listening, (struct sockaddr *)&a, sizeof a), a.sun_path);
    check(listen(listening, 1024), "listen");
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &e), "epoll_ctl");
    for (;;) {
        int n = epoll_wait(epoll, ready, 64, -1);
        for (int i = 0; i < n; i++) {
            struct client *c = ready[i].data.ptr;
            if (!c) {
                take(epoll, listening);
            } else if (serve(epoll, c)) {
                (void)close(c->fd);
                free(c);
            }
        }
    }
}
