/* SPDX-License-Identifier: MIT */
#include "host/mapper-identity.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/channel.h"
#include "base/cleanup.h"
#include "base/text.h"

const char *mapper_identity_argument(char *const *argv, const char *name)
{
    size_t len = strlen(name);
    for (; *argv; argv++)
        if (strncmp(*argv, name, len) == 0)
            return *argv + len;
    return NULL;
}

/* Whose is this socket? The kernel tells, whatever becomes of who listens on it. */
static bool listens(pid_t pid, const char *path)
{
    struct error ignored;
    struct ucred who;
    socklen_t len = sizeof who;
    auto_close int fd = channel_connect(path, &ignored);
    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.pid == pid;
}

bool mapper_identity_socket(const char *run_dir, pid_t pid, char id[static MAPPING_ID_LEN + 1])
{
    char path[PATH_MAX];
    auto_dir DIR *dir = opendir(run_dir);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        (void)snprintf(id, MAPPING_ID_LEN + 1, "%s", e->d_name);
        if (text_is_hex(id, MAPPING_ID_LEN) && strcmp(e->d_name + MAPPING_ID_LEN, ".sock") == 0 &&
            snprintf(path, sizeof path, "%s/%s", run_dir, e->d_name) < (int)sizeof path && listens(pid, path))
            return true;
    }
    return false;
}
