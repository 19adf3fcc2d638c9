/* SPDX-License-Identifier: MIT */
#include "api/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/metrics.h"
#include "api/routes.h"
#include "base/log.h"
#include "volume/engine.h"

#define JSON_TYPE    "application/vnd.docker.plugins.v1.2+json"
#define TEXT_TYPE    "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

static void reply_text(struct api_reply *ret, int status, const char *type, char *body)
{
    if (!body)
        abort();
    *ret = (struct api_reply){ .status = status, .type = type, .body = body };
}

/* Valid UTF-8 whatever is in it: a tool's words, or a name cut in the middle of a character. */
static json_t *text_json(const char *text)
{
    json_t *j = json_string(text);
    if (j)
        return j;
    char *copy = strdup(text);
    if (!copy)
        abort();
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    j = json_string(copy);
    free(copy);
    return j;
}

static void reply_error(struct api_reply *ret, int status, const char *message)
{
    json_t *j = json_object();
    json_object_set_new(j, "Err", text_json(message));
    reply_text(ret, status, JSON_TYPE, json_dumps(j, JSON_COMPACT));
    json_decref(j);
}

/* Reads the body. 0, or the HTTP status of the refusal. */
static int read_body(const struct api_request *req, const struct route *route, json_t **in, struct error *err)
{
    json_error_t why;
    size_t blanks = 0;
    while (blanks < req->len && strchr(" \t\r\n", req->body[blanks]))
        blanks++;
    if (blanks == req->len) {
        if (route->needs_body) {
            error_set(err, -EINVAL,
                      "request without a body: Docker repeated a request that had been cut off; nothing was "
                      "done, try again");
            return 400;
        }
        *in = json_object();
        return 0;
    }
    json_t *j = json_loadb(req->body, req->len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!j) {
        error_set(err, -EINVAL, "the request's body is no JSON object: %s (byte %d)", why.text, why.position);
        return 400;
    }
    if (!json_is_object(j)) {
        json_decref(j);
        error_set(err, -EINVAL, "the request's body must be a JSON object");
        return 400;
    }
    *in = j;
    return 0;
}

/* Must this error stay unsaid? Docker takes any answered error of Get as "does not exist" and forgets the
 * volume, its labels and who uses it (moby volume/service/store.go); a closed connection it takes for what it
 * is. */
static bool keep_silent(const struct route *route, const struct error *err)
{
    return route->is_get && err->code != -ENOENT && err->code != -EINVAL;
}

static enum metrics_result run_route(struct volumes *volumes, const struct api_request *req,
                                     const struct route *route, struct api_reply *ret)
{
    enum metrics_result result = METRICS_OK;
    struct error err = { 0 };
    struct grant *grant = NULL;
    const struct caller caller = { req->peer_pid, req->caller_left, req->caller };
    json_t *in = NULL;
    int refused = read_body(req, route, &in, &err);
    if (refused) {
        if (route->is_get && req->len == 0)
            *ret = (struct api_reply){ 0 };
        else
            reply_error(ret, refused, err.msg);
        return METRICS_MALFORMED;
    }
    json_t *out = json_object();
    struct exchange x = { .volumes = volumes, .caller = &caller, .in = in, .out = out, .grant = &grant };
    int rc = route->run(&x, &err);
    if (rc < 0) {
        log_write(rc == -ENOENT ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "refused path=%s peer=%d: %s",
                  route->path, (int)req->peer_pid, err.msg);
        if (keep_silent(route, &err))
            *ret = (struct api_reply){ 0 };
        else
            reply_error(ret, x.malformed ? 400 : 500, err.msg);
        result = x.malformed        ? METRICS_MALFORMED
                 : ret->status == 0 ? METRICS_UNANSWERED
                 : rc == -ENOENT    ? METRICS_ABSENT
                                    : METRICS_ERROR;
    } else {
        json_object_set_new(out, "Err", json_string(""));
        reply_text(ret, 200, JSON_TYPE, json_dumps(out, JSON_COMPACT));
        ret->grant = grant;
    }
    json_decref(out);
    json_decref(in);
    return result;
}

static void metrics(struct volumes *volumes, struct api_reply *ret)
{
    reply_text(ret, 200, METRICS_TYPE, metrics_page(volumes));
}

static void healthz(struct volumes *volumes, struct api_reply *ret)
{
    char line[256];
    char *body = NULL;
    volumes_summary(volumes, line, sizeof line);
    if (asprintf(&body, "ok: %s\n", line) < 0)
        abort();
    reply_text(ret, 200, TEXT_TYPE, body);
}

void api_handle(struct volumes *volumes, const struct api_request *req, struct api_reply *ret)
{
    static const struct {
        const char *path;
        void (*run)(struct volumes *volumes, struct api_reply *ret);
    } pages[] = { { "/metrics", metrics }, { "/healthz", healthz } };
    struct error err;
    if (req->len > API_BODY_MAX) {
        error_set(&err, -EFBIG, "the request's body is larger than %u bytes", API_BODY_MAX);
        reply_error(ret, 413, err.msg);
        return;
    }
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(req->path, pages[i].path) == 0) {
            if (strcmp(req->method, "GET") == 0)
                pages[i].run(volumes, ret);
            else
                reply_error(ret, 405, "this path takes GET only");
            return;
        }
    const struct route *route = routes_find(req->path);
    if (!route) {
        error_set(&err, -ENOSYS, "there is nothing at '%.100s'", req->path);
        reply_error(ret, 404, err.msg);
    } else if (strcmp(req->method, "POST") != 0) {
        reply_error(ret, 405, "this path takes POST only");
    } else {
        moment began = clock_now();
        enum metrics_result result = run_route(volumes, req, route, ret);
        metrics_count(route->path, result, (clock_now() - began) / 1000);
    }
}

void api_sent(struct volumes *volumes, struct api_reply *reply, bool delivered)
{
    if (reply->grant)
        mount_sent(volumes, reply->grant, delivered);
    reply->grant = NULL;
}
