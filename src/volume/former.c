/* SPDX-License-Identifier: MIT */
#include "volume/former.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define VERSION  1
#define FILE_MAX (1u << 16)

static void path_of(const struct volumes *e, char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/clients.json", e->settings->state_dir);
}

/* The newest is the last; the oldest gives way. With the engine's lock held. */
static void append(struct volumes *e, const char *address)
{
    if (e->nclients == CLIENTS_MAX)
        memmove(e->clients, e->clients + 1, --e->nclients * sizeof *e->clients);
    (void)snprintf(e->clients[e->nclients++], sizeof *e->clients, "%s", address);
}

void former_start(struct volumes *e)
{
    char path[PATH_MAX];
    struct error err;
    auto_free char *text = NULL;
    size_t i;
    json_t *one;
    path_of(e, path);
    if (file_read_own(path, FILE_MAX, &text, NULL, &err) < 0)
        return;
    json_auto_t *j = json_loads(text, 0, NULL);
    const char *boot_id = json_string_value(json_object_get(j, "boot_id"));
    if (!boot_id || strcmp(boot_id, e->host.boot_id) != 0 ||
        json_integer_value(json_object_get(j, "version")) != VERSION)
        return;
    LOCK_SCOPE(&e->lock);
    json_array_foreach(json_object_get(j, "clients"), i, one)
    {
        if (json_is_string(one))
            append(e, json_string_value(one));
    }
    e->earlier = e->nclients;
}

static char *encode(struct volumes *e, const char *address)
{
    json_auto_t *clients = json_array();
    {
        LOCK_SCOPE(&e->lock);
        append(e, address);
        e->earlier = e->nclients - 1;
        for (unsigned i = 0; i < e->nclients; i++)
            json_array_append_new(clients, json_string(e->clients[i]));
    }
    json_auto_t *j =
        json_pack("{s:i, s:s, s:O}", "version", VERSION, "boot_id", e->host.boot_id, "clients", clients);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    if (!text)
        abort();
    return text;
}

void former_add(void *arg, const char *address)
{
    struct volumes *e = arg;
    char path[PATH_MAX];
    struct error err;
    path_of(e, path);
    auto_free char *text = encode(e, address);
    if (file_replace(path, text, strlen(text), &err) < 0)
        log_warning("a restart in the middle of an operation would have to wait for Ceph's time-outs: %s",
                    err.msg);
}

bool former_has(struct volumes *e, const char *address)
{
    LOCK_SCOPE(&e->lock);
    for (unsigned i = 0; i < e->earlier; i++)
        if (strcmp(e->clients[i], address) == 0)
            return true;
    return false;
}

bool former_is_present(struct volumes *e, const char *address)
{
    LOCK_SCOPE(&e->lock);
    return e->nclients > e->earlier && strcmp(e->clients[e->nclients - 1], address) == 0;
}
