/* SPDX-License-Identifier: MIT */
#include "main/docker.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "main/client.h"

#define DOCKER_SOCKET "/run/docker.sock"
#define PATIENCE_MS   1000

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* NULL: Docker is not on this host. */
static const char *socket_path(void)
{
    const char *host = getenv("DOCKER_HOST"); /* NOLINT(concurrency-mt-unsafe): nobody sets it */
    if (!host || !*host)
        return DOCKER_SOCKET;
    return strncmp(host, "unix://", 7) == 0 ? host + 7 : NULL;
}

/* Is this what Docker calls the volume of this full name? "db", "db@20G", "rbd/db". */
static bool is_named(const char *full, const char *docker)
{
    size_t len = strcspn(docker, "@"), all = strlen(full);
    if (len == 0 || len > all || strncmp(full + all - len, docker, len) != 0)
        return false;
    return len == all || full[all - len - 1] == '/';
}

static bool has_volume(const json_t *container, const char *driver, const char *full)
{
    size_t i;
    json_t *mount;
    json_array_foreach(json_object_get(container, "Mounts"), i,
                       mount) if (strcmp(text_of(mount, "Driver"), driver) == 0 &&
                                  is_named(full, text_of(mount, "Name"))) return true;
    return false;
}

/* Docker's names begin with a slash. */
static json_t *name_of(const json_t *container)
{
    const char *name = json_string_value(json_array_get(json_object_get(container, "Names"), 0));
    if (!name)
        name = text_of(container, "Id");
    return json_string(name + (*name == '/'));
}

void docker_add_containers(json_t *status)
{
    struct error ignored;
    json_auto_t *containers = NULL;
    const char *path = socket_path(), *driver = text_of(status, "Instance");
    const json_t *volumes = json_object_get(status, "Volumes");
    size_t i, k;
    json_t *volume, *container;
    if (json_array_size(volumes) == 0 || !path ||
        client_get(path, "/containers/json", PATIENCE_MS, &containers, &ignored) < 0 ||
        !json_is_array(containers))
        return;
    json_array_foreach(volumes, i, volume)
    {
        json_t *names = json_array();
        json_array_foreach(containers, k,
                           container) if (has_volume(container, driver, text_of(volume, "Name")))
            json_array_append_new(names, name_of(container));
        json_object_set_new(volume, "Containers", names);
    }
}
