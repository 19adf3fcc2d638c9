/* SPDX-License-Identifier: MIT */
#include "api/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define CONNECTIONS_MAX 1024
#define CONNECTIONS_MANY                                                                                     \
    768                /* logged: beyond the maximum connections are reset, and Docker repeats what was      \
                        * reset with an empty body */
#define IDLE_S      30 /* closes idle and half-sent requests, never one that is being handled */
#define POOL_BYTES  (12 << 10) /* a connection's memory: request line, headers, a piece of the body */
#define STACK_BYTES (512 << 10)
/* of the TCP address, which any local user reaches: they can keep each other out for a while, and no more */
#define METRICS_CONNECTIONS_MAX 32
#define METRICS_IDLE_S          5
#define BODY_ENDLESS                                                                                         \
    (16 * (size_t)API_BODY_MAX) /* a client that sends so much will not read an answer either */
#define YOUNG_MS 300            /* at the end, how long a connection may take to begin with its request */
#define QUIET_MS 30             /* at the end, how long nothing must happen */

struct http {
    struct MHD_Daemon *daemon;
    struct volumes *volumes;
    int listen_fd;
    bool metrics_only;
    pthread_mutex_t lock; /* guards the counters; a leaf: nothing else is taken under it */
    pthread_cond_t changed;
    unsigned running;     /* requests from their headers until their answer is sent */
    unsigned connections; /* open ones, idle or not */
    bool told_many;
};

struct request {
    struct http *http;
    char *path, *method;
    char *body;
    size_t len, room; /* len counts all that arrived, the body is dropped when that was too much */
    int fd;
    pid_t peer_pid;
    struct api_reply reply;
};

/* ---- requests ---- */

static void request_free(struct request *r)
{
    if (!r)
        return;
    free(r->path);
    free(r->method);
    free(r->body);
    free(r);
}

static struct request *request_new(struct http *http, struct MHD_Connection *c, const char *path,
                                   const char *method)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->http = http;
    r->path = strdup(path);
    r->method = strdup(method);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    r->fd = info ? info->connect_fd : -1;
    struct ucred cred;
    socklen_t size = sizeof cred;
    if (r->fd >= 0 && getsockopt(r->fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0)
        r->peer_pid = cred.pid;
    if (r->path && r->method)
        return r;
    request_free(r);
    return NULL;
}

/* A piece of the body. An answer can be sent only when the whole body has come, so what is too long, or not
 * wanted, is counted and dropped. */
static int request_add(struct request *r, const char *data, size_t size)
{
    r->len += size;
    if (r->len > BODY_ENDLESS)
        return -EFBIG;
    if (r->len > API_BODY_MAX || r->http->metrics_only) {
        free(r->body);
        r->body = NULL;
        return 0;
    }
    if (r->len > r->room) {
        size_t room = r->room ? r->room : 1024;
        while (room < r->len)
            room *= 2;
        char *more = realloc(r->body, room);
        if (!more)
            return -ENOMEM;
        r->body = more;
        r->room = room;
    }
    memcpy(r->body + r->len - size, data, size);
    return 0;
}

/* A client that only closed its sending half still reads its answer (POLLRDHUP alone); one that is gone gives
 * POLLHUP. */
static bool caller_left(void *caller)
{
    const struct request *r = caller;
    struct pollfd p = { .fd = r->fd, .events = POLLRDHUP };
    return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

static void reply_text(struct api_reply *reply, int status, const char *text)
{
    *reply =
        (struct api_reply){ .status = status, .type = "text/plain; charset=utf-8", .body = strdup(text) };
}

static bool is_metrics(const struct request *r)
{
    return strcmp(r->method, "GET") == 0 &&
           (strcmp(r->path, "/metrics") == 0 || strcmp(r->path, "/healthz") == 0);
}

static enum MHD_Result answer(struct request *r, struct MHD_Connection *c)
{
    const struct api_request req = { .method = r->method,
                                     .path = r->path,
                                     .body = r->body,
                                     .len = r->http->metrics_only ? 0 : r->len,
                                     .peer_pid = r->peer_pid,
                                     .caller_left = caller_left,
                                     .caller = r };
    if (r->http->metrics_only && !is_metrics(r))
        reply_text(&r->reply, MHD_HTTP_NOT_FOUND, "only GET /metrics and GET /healthz are here\n");
    else
        api_handle(r->http->volumes, &req, &r->reply);
    /* MHD closes the connection without a word when the last call of the handler fails. */
    if (r->reply.status == 0 || !r->reply.body)
        return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(r->reply.body), r->reply.body, MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    r->reply.body = NULL; /* the response's now */
    /* Docker repeats a request that a closing keep-alive connection lost, with an empty body: no connection
     * is kept. */
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (r->reply.type)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->reply.type);
    enum MHD_Result queued = MHD_queue_response(c, (unsigned)r->reply.status, response);
    MHD_destroy_response(response);
    return queued;
}

static void count(struct http *http, unsigned *counter, int change)
{
    LOCK_SCOPE(&http->lock);
    *counter = (unsigned)((int)*counter + change);
    pthread_cond_broadcast(&http->changed);
}

/* ---- what libmicrohttpd calls ---- */

/* Once with the headers, once per piece of body, once at the end. This thread is this connection's: it may
 * block. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **state)
{
    struct http *http = arg;
    struct request *r = *state;
    (void)version;
    if (!r) {
        *state = r = request_new(http, c, url, method);
        if (!r)
            return MHD_NO;
        count(http, &http->running, 1);
        return MHD_YES;
    }
    if (*size > 0) {
        int rc = request_add(r, data, *size);
        *size = 0;
        return rc < 0 ? MHD_NO : MHD_YES;
    }
    return answer(r, c);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode how)
{
    struct http *http = arg;
    struct request *r = *state;
    (void)c;
    if (!r)
        return;
    api_sent(http->volumes, &r->reply, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    free(r->reply.body);
    request_free(r);
    *state = NULL;
    count(http, &http->running, -1);
}

static void on_connection(void *arg, struct MHD_Connection *c, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *http = arg;
    (void)c;
    (void)state;
    bool many = false;
    count(http, &http->connections, what == MHD_CONNECTION_NOTIFY_STARTED ? 1 : -1);
    {
        LOCK_SCOPE(&http->lock);
        if (http->connections >= CONNECTIONS_MANY && !http->told_many)
            many = http->told_many = true;
        else if (http->connections < CONNECTIONS_MANY / 2)
            http->told_many = false;
    }
    if (many)
        log_warning("%u connections are open; beyond %u new ones are refused", CONNECTIONS_MANY,
                    CONNECTIONS_MAX);
}

static void on_log(void *arg, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void on_log(void *arg, const char *fmt, va_list ap)
{
    char text[256];
    (void)arg;
    int n = vsnprintf(text, sizeof text, fmt, ap);
    while (n > 0 && n < (int)sizeof text && text[n - 1] == '\n')
        text[--n] = '\0';
    log_debug("http: %s", text);
}

/* ---- start and stop ---- */

static struct http *http_new(int listen_fd, struct volumes *volumes, bool metrics_only)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return NULL;
    http->listen_fd = listen_fd;
    http->volumes = volumes;
    http->metrics_only = metrics_only;
    pthread_mutex_init(&http->lock, NULL);
    clock_cond_init(&http->changed);
    return http;
}

static void http_free(struct http *http)
{
    if (http->listen_fd >= 0)
        (void)close(http->listen_fd);
    pthread_cond_destroy(&http->changed);
    pthread_mutex_destroy(&http->lock);
    free(http);
}

int http_start(int listen_fd, struct volumes *volumes, bool metrics_only, struct http **ret,
               struct error *err)
{
    struct http *http = http_new(listen_fd, volumes, metrics_only);
    if (!http) {
        (void)close(listen_fd);
        return error_set(err, -ENOMEM, "cannot start the HTTP server: out of memory");
    }
    /* A thread per connection: measured, a pool lets one slow volume delay others, since a connection stays
     * with the thread that accepted it. ITC: without it the server cannot be quiesced. */
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
                     MHD_USE_ITC | MHD_USE_ERROR_LOG;
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(metrics_only ? METRICS_CONNECTIONS_MAX : CONNECTIONS_MAX), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(metrics_only ? METRICS_IDLE_S : IDLE_S), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POOL_BYTES, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
        /* Docker sends an empty Host, others none at all */
        MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
    if (!http->daemon) {
        http_free(http);
        return error_set(err, -EIO, "cannot start the HTTP server; with log-level=debug it tells why");
    }
    *ret = http;
    return 0;
}

/* Takes in what waits to be accepted: a client behind it has sent its request already. */
static void accept_rest(struct http *http)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        int fd = accept4(http->listen_fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        /* closes fd when it fails */
        if (MHD_add_connection(http->daemon, fd, (struct sockaddr *)&addr, len) != MHD_YES)
            log_debug("http: a connection that waited was not taken");
    }
}

/* Waits until nothing runs and nothing is about to. A connection without a request may be one whose request
 * is on its way, for a moment; later it is an idle one. One that the server's thread has just accepted is not
 * counted yet: hence the pause. */
static unsigned drain(struct http *http, int64_t wait_ms)
{
    moment end = clock_in_ms(wait_ms), young = clock_in_ms(YOUNG_MS), quiet = clock_in_ms(QUIET_MS);
    LOCK_SCOPE(&http->lock);
    for (;;) {
        moment until = http->running ? end : http->connections ? young : quiet;
        if (clock_left_ms(until) == 0)
            return http->running;
        struct timespec t = clock_spec(until);
        if (pthread_cond_timedwait(&http->changed, &http->lock, &t) == 0)
            quiet = clock_in_ms(QUIET_MS);
    }
}

unsigned http_stop(struct http *http, int64_t wait_ms)
{
    if (!http)
        return 0;
    /* MHD_stop_daemon alone would wait for the handlers and throw their answers away. */
    (void)MHD_quiesce_daemon(http->daemon);
    accept_rest(http);
    unsigned left = drain(http, wait_ms);
    /* A handler that hangs would hang MHD_stop_daemon, too: everything is left as it is, for the end of the
     * process. */
    if (left)
        return left;
    MHD_stop_daemon(http->daemon);
    http_free(http);
    return 0;
}
