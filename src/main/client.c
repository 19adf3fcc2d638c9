/* SPDX-License-Identifier: MIT */
#include "main/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define ANSWER_MAX (64u << 20) /* a list of all the images there can be */

/* ms: for a listener that takes no connection, and for one that does not read. */
static int dial(const char *path, int ms, struct error *err)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    const struct timeval patience = { ms / 1000, ms % 1000 * 1000 };
    if (strlen(path) >= sizeof addr.sun_path)
        return error_set(err, -ENAMETOOLONG, "the path of the socket, %s, is too long", path);
    memcpy(addr.sun_path, path, strlen(path) + 1);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(err, -errno, "cannot make a socket: %s", error_text(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
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

/* Something can be read: 1; the time is over: 0; or -1 as poll(2). */
static int wait_for(int fd, const struct client_patience *how, moment begin)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    for (;;) {
        int gone = (int)clock_since_ms(begin), left = how->ms - gone;
        int second = 1000 - gone % 1000;
        int ready = poll(&p, 1, how->waiting && second < left ? second : left > 0 ? left : 0);
        if (ready != 0 || clock_since_ms(begin) >= how->ms)
            return ready;
        if (how->waiting)
            how->waiting(how->arg, (int)(clock_since_ms(begin) / 1000));
    }
}

/* Reads to the end of the connection: the server closes after every answer. */
static int read_all(int fd, const struct client_patience *how, char **ret, struct error *err)
{
    auto_free char *buf = NULL;
    size_t len = 0, room = 0;
    moment begin = clock_now();
    for (;;) {
        if (len + 1 >= room) {
            room = room ? room * 2 : 16384;
            char *more = room > ANSWER_MAX ? NULL : realloc(buf, room);
            if (!more)
                return error_set(err, -EFBIG, "the daemon's answer is too large");
            buf = more;
        }
        int ready = wait_for(fd, how, begin);
        if (ready == 0)
            return error_set(err, -ETIMEDOUT, "the daemon has not answered for %d s", how->ms / 1000);
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

int client_call_patiently(const char *socket_path, const char *path, const json_t *request,
                          const struct client_patience *how, json_t **ret, struct error *err)
{
    auto_free char *body = json_dumps(request, JSON_COMPACT), *text = NULL;
    if (!body)
        return error_set(err, -EINVAL, "the request cannot be written as JSON: is everything UTF-8?");
    auto_close int fd = dial(socket_path, how->ms, err);
    if (fd < 0)
        return fd;
    int rc = post(fd, path, body, err);
    if (rc < 0 || (rc = read_all(fd, how, &text, err)) < 0)
        return rc;
    return parse(text, ret, err);
}

int client_call(const char *socket_path, const char *path, const json_t *request, json_t **ret,
                struct error *err)
{
    const struct client_patience how = { .ms = CLIENT_PATIENCE_MS };
    return client_call_patiently(socket_path, path, request, &how, ret, err);
}

/* HTTP/1.0: the answer comes in one piece, and ends with the connection. */
int client_get(const char *socket_path, const char *path, int ms, json_t **ret, struct error *err)
{
    const struct client_patience how = { .ms = ms };
    char request[256];
    auto_free char *text = NULL;
    auto_close int fd = dial(socket_path, ms, err);
    if (fd < 0)
        return fd;
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
    int rc = send_all(fd, request, (size_t)len);
    if (rc < 0)
        return error_set(err, rc, "cannot send the request: %s", error_text(rc));
    rc = read_all(fd, &how, &text, err);
    const char *body = rc == 0 ? strstr(text, "\r\n\r\n") : NULL;
    if (rc < 0)
        return rc;
    *ret = body && strncmp(text, "HTTP/1.", 7) == 0 && strstr(text, " 200 ") == text + 8
               ? json_loads(body + 4, 0, NULL)
               : NULL;
    return *ret ? 0 : error_set(err, -EPROTO, "%s does not answer with JSON", socket_path);
}
