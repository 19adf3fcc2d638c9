/* SPDX-License-Identifier: MIT */
#include "host/mapper-control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/cleanup.h"
#include "host/procs.h"

#define PEER_VERSION_MAX 1

void mapper_control_path(const struct mapping *m, char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%.*s.sock", (int)(strlen(m->file) - strlen(".img")), m->file);
}

int mapper_control_call(const struct mapping *m, json_t *request, moment deadline, json_t **ret,
                        struct error *err)
{
    char path[PATH_MAX];
    mapper_control_path(m, path);
    auto_close int fd = channel_connect(path, err);
    int rc = fd < 0 ? fd : channel_call(fd, request, deadline, ret, err);
    json_decref(request);
    return rc;
}

json_t *mapper_control_question(const char *what)
{
    return json_pack("{s:s}", "do", what);
}

bool mapper_control_is_gone(int rc)
{
    return rc == -EPIPE || rc == -ECONNREFUSED || rc == -ENOENT || rc == -ECONNRESET;
}

int mapper_control_fill(struct mapping *m, const json_t *hello, struct error *err)
{
    const char *pool, *ns, *image, *image_id, *address;
    int version, pid, ro;
    json_error_t why;
    if (json_unpack_ex((json_t *)(uintptr_t)hello, &why, 0, "{s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:b}",
                       "version", &version, "pid", &pid, "pool", &pool, "namespace", &ns, "image", &image,
                       "image_id", &image_id, "address", &address, "ro", &ro) < 0)
        return error_set(err, -EPROTO, "the mapper's answer is not as expected: %s", why.text);
    if (version > PEER_VERSION_MAX)
        return error_set(err, -EPROTO, "the mapper speaks version %d, and this program only up to %d",
                         version, PEER_VERSION_MAX);
    (void)snprintf(m->name.pool, sizeof m->name.pool, "%s", pool);
    (void)snprintf(m->name.ns, sizeof m->name.ns, "%s", ns);
    (void)snprintf(m->name.image, sizeof m->name.image, "%s", image);
    (void)snprintf(m->image_id, sizeof m->image_id, "%s", image_id);
    (void)snprintf(m->address, sizeof m->address, "%s", address);
    m->pid = pid;
    m->ro = ro;
    if (procs_start_time(m->pid, &m->pid_start) < 0)
        return error_set(err, -ESRCH, "the mapper of %s has ended", image);
    return 0;
}

int mapper_control_health(const json_t *hello, struct mapping_health *ret)
{
    const char *state, *why;
    int opens, unclean, inflight;
    json_int_t stalled;
    /* jansson's unpack only reads, but has no const */
    if (json_unpack((json_t *)(uintptr_t)hello, "{s:s, s:i, s:b, s:i, s:I, s:s}", "state", &state, "opens",
                    &opens, "unclean", &unclean, "inflight", &inflight, "stalled_ms", &stalled, "why",
                    &why) < 0)
        return -EPROTO;
    bool lost = strcmp(state, "lost") == 0 || strcmp(state, "failed") == 0; /* and not: starting */
    *ret = (struct mapping_health){ .state = lost ? MAPPING_LOST : MAPPING_READY,
                                    .opens = (unsigned)opens,
                                    .unclean = unclean,
                                    .inflight = (unsigned)inflight,
                                    .stalled_ms = stalled };
    (void)snprintf(ret->why, sizeof ret->why, "%s", why);
    return 0;
}
