/* SPDX-License-Identifier: MIT */
#include "base/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

/* A socket, and the address that this path is. */
static int socket_for(const char *path, struct sockaddr_un *addr, struct error *err)
{
    *addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof addr->sun_path)
        return error_set(err, -ENAMETOOLONG, "socket path %s is longer than %zu bytes", path,
                         sizeof addr->sun_path - 1);
    memcpy(addr->sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? error_set(err, -errno, "cannot make a socket: %s", error_text(errno)) : fd;
}

int channel_listen(const char *path, struct error *err)
{
    struct sockaddr_un addr;
    auto_close int fd = socket_for(path, &addr, err);
    if (fd < 0)
        return fd;
    (void)unlink(path);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || chmod(path, 0600) < 0 || listen(fd, 16) < 0)
        return error_set(err, -errno, "cannot listen at %s: %s", path, error_text(errno));
    return steal_fd(&fd);
}

int channel_connect(const char *path, struct error *err)
{
    struct sockaddr_un addr;
    auto_close int fd = socket_for(path, &addr, err);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return error_set(err, -errno, "cannot connect to %s: %s", path, error_text(errno));
    return steal_fd(&fd);
}

/* Waits until fd is ready for the events; 0, -ETIMEDOUT or another errno. */
static int ready(int fd, short events, moment deadline)
{
    struct pollfd p = { .fd = fd, .events = events };
    for (;;) {
        int n = poll(&p, 1, clock_left_ms(deadline));
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* Room for the control data of descriptors. */
union fds_control {
    char bytes[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
    struct cmsghdr align;
};

int channel_send(int fd, const json_t *msg, moment deadline, struct error *err)
{
    return channel_send_fds(fd, msg, NULL, 0, deadline, err);
}

int channel_send_fds(int fd, const json_t *msg, const int *fds, unsigned n, moment deadline,
                     struct error *err)
{
    auto_free char *text = json_dumps(msg, JSON_COMPACT);
    if (!text || n > CHANNEL_FDS_MAX)
        return error_set(err, -EPROTO, "cannot encode a message");
    union fds_control control = { 0 };
    struct iovec part = { .iov_base = text, .iov_len = strlen(text) };
    struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1 };
    if (n) {
        head.msg_control = control.bytes;
        head.msg_controllen = CMSG_SPACE(n * sizeof *fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&head);
        *c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS,
                               .cmsg_len = CMSG_LEN(n * sizeof *fds) };
        memcpy(CMSG_DATA(c), fds, n * sizeof *fds);
    }
    for (;;) {
        if (sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno == EPIPE || errno == ECONNRESET)
            return error_set(err, -EPIPE, "the other process has ended");
        if (errno != EAGAIN)
            return error_set(err, -errno, "cannot send a message: %s", error_text(errno));
        int rc = ready(fd, POLLOUT, deadline);
        if (rc < 0)
            return error_set(err, rc, "cannot send a message: %s", error_text(rc));
    }
}

int channel_receive(int fd, moment deadline, json_t **ret, struct error *err)
{
    return channel_receive_fds(fd, deadline, ret, NULL, 0, err);
}

/* Takes the descriptors out of a message that was received: 0, or -EPROTO, and then they are closed. */
static int fds_take(struct msghdr *head, int *fds, unsigned n)
{
    unsigned have = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c; c = CMSG_NXTHDR(head, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof *fds) <= c->cmsg_len; at += sizeof *fds) {
            int one;
            memcpy(&one, CMSG_DATA(c) + at, sizeof one);
            if (have < n)
                fds[have] = one;
            else
                (void)close(one);
            have++;
        }
    }
    if (have == n)
        return 0;
    for (unsigned i = 0; i < have && i < n; i++)
        (void)close(fds[i]);
    return -EPROTO;
}

int channel_receive_fds(int fd, moment deadline, json_t **ret, int *fds, unsigned nfds, struct error *err)
{
    auto_free char *buf = malloc(CHANNEL_PACKET_MAX);
    if (!buf)
        return error_set(err, -ENOMEM, "out of memory");
    ssize_t n;
    union fds_control control;
    struct iovec part = { .iov_base = buf, .iov_len = CHANNEL_PACKET_MAX };
    struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1 };
    if (nfds) { /* without room for them, the kernel closes what is sent */
        head.msg_control = control.bytes;
        head.msg_controllen = sizeof control.bytes;
    }
    while ((n = recvmsg(fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) < 0) {
        if (errno == EINTR)
            continue;
        int rc = errno == EAGAIN ? ready(fd, POLLIN, deadline) : errno == ECONNRESET ? -EPIPE : -errno;
        if (rc < 0)
            return error_set(err, rc, "no answer: %s",
                             rc == -ETIMEDOUT ? "it took too long" : error_text(rc));
    }
    if (n == 0)
        return error_set(err, -EPIPE, "the other process has ended");
    if (fds_take(&head, fds, nfds) < 0)
        return error_set(err, -EPROTO, "the other process sent other descriptors than were expected");
    json_t *msg = json_loadb(buf, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(msg)) {
        json_decref(msg);
        return error_set(err, -EPROTO, "the other process answered something that is not an object");
    }
    *ret = msg;
    return 0;
}

int channel_call(int fd, const json_t *request, moment deadline, json_t **ret, struct error *err)
{
    int rc = channel_send(fd, request, deadline, err);
    return rc < 0 ? rc : channel_answer(fd, deadline, ret, err);
}

int channel_answer(int fd, moment deadline, json_t **ret, struct error *err)
{
    for (;;) {
        json_auto_t *reply = NULL;
        int rc = channel_receive(fd, deadline, &reply, err);
        if (rc < 0)
            return rc;
        if (json_object_get(reply, "event"))
            continue;
        if (json_is_true(json_object_get(reply, "ok"))) {
            if (ret)
                *ret = json_incref(reply);
            return 0;
        }
        const char *text = json_string_value(json_object_get(reply, "err"));
        json_int_t code = json_integer_value(json_object_get(reply, "code"));
        return error_set(err, code < 0 && code > -4096 ? (int)code : -EPROTO, "%s", text ? text : "refused");
    }
}

json_t *channel_refusal(const struct error *err)
{
    return json_pack("{s:i, s:s}", "code", err->code, "err", err->msg);
}
