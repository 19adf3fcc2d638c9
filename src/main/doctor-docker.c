/* SPDX-License-Identifier: MIT */
/* Docker's view: does it find the plugin, and only this one? */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "main/client.h"
#include "main/doctor.h"

#define DOCKER_SOCKET "/run/docker.sock"
#define PLUGINS       "/run/docker/plugins"

/* 1: somebody listens; 0: a socket that nobody listens at; -1: there is none. */
static int listens(const char *path)
{
    struct stat st;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode) || strlen(path) >= sizeof addr.sun_path)
        return -1;
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && (connect(fd, (const struct sockaddr *)&addr, sizeof addr) == 0 || errno == EAGAIN);
}

static void check_daemon(const struct settings *s, struct findings *f)
{
    struct error err;
    json_auto_t *request = json_object(), *status = NULL;
    switch (listens(s->socket)) {
    case -1:
        findings_add(f, FINDING_WARNING, "daemon", "systemctl start rbdvol.socket",
                     "it does not run: there is no %s", s->socket);
        return;
    case 0:
        findings_add(f, FINDING_PROBLEM, "daemon", "start the daemon, which replaces it, or remove it",
                     "nobody listens at %s: Docker waits 15 s for it at every volume operation", s->socket);
        return;
    default:
        break;
    }
    if (client_call(s->socket, "/Rbdvol.Status", request, &status, &err) < 0)
        findings_add(f, FINDING_PROBLEM, "daemon", "look at its log: journalctl -u rbdvol", "%s", err.msg);
    else
        findings_add(f, FINDING_OK, "daemon", "", "version %s answers at %s",
                     json_string_value(json_object_get(status, "Version")), s->socket);
}

/* Docker takes sockets before spec files. */
static void check_plugin_files(const struct settings *s, struct findings *f)
{
    static const char *const folders[] = { "/etc/docker/plugins", "/usr/lib/docker/plugins" };
    static const char *const kinds[] = { "spec", "json" };
    char path[256];
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++) {
            (void)snprintf(path, sizeof path, "%s/%s.%s", folders[i], s->name, kinds[j]);
            if (access(path, F_OK) == 0)
                findings_add(f, FINDING_WARNING, "plugin files",
                             "remove it unless it names this daemon's socket",
                             "%s also tells Docker of a plugin '%s'", path, s->name);
        }
    (void)snprintf(path, sizeof path, PLUGINS "/%s.sock", s->name);
    if (strcmp(path, s->socket) != 0 && listens(path) >= 0)
        findings_add(f, FINDING_WARNING, "plugin files", "stop that one, or give this instance another name",
                     "Docker finds %s before %s", path, s->socket);
}

void doctor_docker(const struct settings *s, struct findings *f)
{
    if (listens(DOCKER_SOCKET) == 1)
        findings_add(f, FINDING_OK, "docker", "", "dockerd listens at " DOCKER_SOCKET);
    else
        findings_add(f, FINDING_OK, "docker", "", "no dockerd listens at " DOCKER_SOCKET);
    check_daemon(s, f);
    check_plugin_files(s, f);
}
