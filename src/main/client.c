/* SPDX-License-Identifier: MIT */
#include "main/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define ANSWER_MAX (64u << 20)  /* a list of all the images there can be */
#define PATIENCE   (150 * 1000) /* ms: longer than the longest budget that the daemon takes */

static int dial(const char *path, struct error *err)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof addr.sun_path)
        return error_set(err, -ENAMETOOLONG, "the path of the socket, %s, is too long", path);
    memcpy(addr.sun_path, path, strlen(path) + 1);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(err, -errno, "cannot make a socket: %s", error_text(errno));
    if (connect(fd, (const struct sockaddr *)&addr, sizeof addr) == 0)
        return steal_fd(&fd);
    int rc = -errno;
    if (rc == -ENOENT || rc == -ECONNREFUSED)
        return error_set(
            err, rc,
            "no daemon listens at %s: start it with 'systemctl start rbdvol.socket' or 'rbdvol serve', or "
            "name its socket with --socket= or its name with --name=",
            path);
    if (rc == -EACCES || rc == -EPERM)
        return error_set(err, rc, "%s is not for this user: try it as root", path);
    return error_set(err, rc, "cannot connect to %s: %s", path, error_text(rc));
}

static int send_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int post(int fd, const char *path, const char *body, struct error *err)
{
    auto_free char *text = NULL;
    int len =
        asprintf(&text,
                 "POST %s HTTP/1.1\r\nHost: rbdvol\r\nUser-Agent: rbdvol/" RBDVOL_VERSION
                 "\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                 path, strlen(body), body);
    if (len < 0) {
        text = NULL;
        return error_set(err, -ENOMEM, "out of memory");
    }
    int rc = send_all(fd, text, (size_t)len);
    return rc < 0 ? error_set(err, rc, "cannot send the request: %s", error_text(rc)) : 0;
}

/* Reads to the end of the connection: the server closes after every answer. */
static int read_all(int fd, char **ret, struct error *err)
{
    auto_free char *buf = NULL;
    size_t len = 0, room = 0;
    moment end = clock_in_ms(PATIENCE);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    for (;;) {
        if (len + 1 >= room) {
            room = room ? room * 2 : 16384;
            char *more = room > ANSWER_MAX ? NULL : realloc(buf, room);
            if (!more)
                return error_set(err, -EFBIG, "the daemon's answer is too large");
            buf = more;
        }
        int ready = poll(&p, 1, clock_left_ms(end));
        if (ready == 0)
            return error_set(err, -ETIMEDOUT, "the daemon has not answered for %d s", PATIENCE / 1000);
        ssize_t n = ready < 0 ? -1 : read(fd, buf + len, room - len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != ECONNRESET)
            return error_set(err, -errno, "cannot read the daemon's answer: %s", error_text(errno));
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    buf[len] = '\0';
    *ret = steal_ptr(&buf);
    return 0;
}

/* "HTTP/1.1 200 OK", headers, an empty line, the body to the end. */
static int parse(const char *text, json_t **ret, struct error *err)
{
    int status = 0;
    const char *body = strstr(text, "\r\n\r\n");
    if (!*text)
        return error_set(
            err, -ENODATA,
            "the daemon closed the connection without an answer: it cannot ask the cluster now, or "
            "it is about to stop; 'rbdvol status' tells more");
    if (sscanf(text, "HTTP/1.%*1d %3d", &status) != 1 || !body)
        return error_set(err, -EPROTO, "what listens there does not speak HTTP: is this rbdvol's socket?");
    json_error_t why;
    json_auto_t *answer = json_loads(body + 4, 0, &why);
    const char *said = json_string_value(json_object_get(answer, "Err"));
    if (said && *said)
        return error_set(err, -EIO, "%s", said);
    if (status == 404 || status == 405)
        return error_set(err, -EOPNOTSUPP,
                         "the daemon does not know this request: it is another version, or not rbdvol");
    if (status != 200)
        return error_set(err, -EPROTO, "the daemon answered with HTTP status %d: %.200s", status, body + 4);
    if (!json_is_object(answer))
        return error_set(err, -EPROTO, "the daemon answered something that is not a JSON object");
    *ret = json_incref(answer);
    return 0;
}

int client_call(const char *socket_path, const char *path, const json_t *request, json_t **ret,
                struct error *err)
{
    auto_free char *body = json_dumps(request, JSON_COMPACT), *text = NULL;
    if (!body)
        return error_set(err, -EINVAL, "the request cannot be written as JSON: is everything UTF-8?");
    auto_close int fd = dial(socket_path, err);
    if (fd < 0)
        return fd;
    int rc = post(fd, path, body, err);
    if (rc < 0 || (rc = read_all(fd, &text, err)) < 0)
        return rc;
    return parse(text, ret, err);
}
