/* SPDX-License-Identifier: MIT */
#include "main/sandbox.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/mountinfo.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define SERVICE SYSTEMD ".Service"
#define ASK_US  5000000 /* PID 1 has a few more services to start at boot */

#define auto_bus     CLEANUP(sd_bus_flush_close_unrefp) sd_bus
#define auto_message CLEANUP(sd_bus_message_unrefp) sd_bus_message

/* Options with a mount namespace (systemd.exec(5)): what they are when they are not used, besides empty. */
static const struct {
    const char *name, *unused;
} options[] = {
    { "PrivateMounts", NULL },
    { "PrivateTmp", NULL },
    { "PrivateDevices", NULL },
    { "PrivateIPC", NULL },
    { "PrivateUsers", NULL },
    { "DynamicUser", NULL },
    { "ProtectSystem", "no" },
    { "ProtectHome", "no" },
    { "ProtectProc", "default" },
    { "ProcSubset", "all" },
    { "ProtectKernelTunables", NULL },
    { "ProtectKernelModules", NULL },
    { "ProtectKernelLogs", NULL },
    { "ProtectControlGroups", NULL },
    { "ReadWritePaths", NULL },
    { "ReadOnlyPaths", NULL },
    { "InaccessiblePaths", NULL },
    { "ExecPaths", NULL },
    { "NoExecPaths", NULL },
    { "BindPaths", NULL },
    { "BindReadOnlyPaths", NULL },
    { "TemporaryFileSystem", NULL },
    { "MountImages", NULL },
    { "ExtensionImages", NULL },
    { "ExtensionDirectories", NULL },
    { "RootDirectory", NULL },
    { "RootImage", NULL },
    { "IPCNamespacePath", NULL },
    { "LogNamespace", NULL },
    { "MountFlags", NULL },
};

/* The value of a property, which is not what it is when the option is absent. */
static bool is_used(sd_bus_message *m, const char *unused)
{
    char type;
    const char *text;
    uint64_t number;
    int flag;
    if (sd_bus_message_peek_type(m, &type, NULL) <= 0)
        return false;
    switch (type) {
    case 'b':
        return sd_bus_message_read_basic(m, 'b', &flag) > 0 && flag;
    case 's':
        return sd_bus_message_read_basic(m, 's', &text) > 0 && *text &&
               (!unused || (strcmp(text, unused) != 0 && strcmp(text, "false") != 0));
    case 't': /* mount(2)'s flags; shared is what there is without a namespace */
        return sd_bus_message_read_basic(m, 't', &number) > 0 && number && number != MS_SHARED;
    case 'a':
        return sd_bus_message_enter_container(m, 'a', NULL) > 0 && !sd_bus_message_at_end(m, false);
    default:
        return false;
    }
}

/* The bus's name of the unit that this process belongs to; the caller frees it. NULL: there is none. */
static char *own_unit(sd_bus *bus)
{
    auto_message *reply = NULL;
    const char *path;
    if (sd_bus_call_method(bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager", "GetUnitByPID",
                           NULL, &reply, "u", (uint32_t)getpid()) < 0 ||
        sd_bus_message_read_basic(reply, 'o', &path) <= 0)
        return NULL;
    return strdup(path);
}

void sandbox_options(char *buf, size_t size)
{
    auto_bus *bus = NULL;
    size_t at = 0;
    *buf = '\0';
    if (sd_booted() <= 0 || sd_bus_open_system(&bus) < 0)
        return;
    (void)sd_bus_set_method_call_timeout(bus, ASK_US);
    auto_free char *unit = own_unit(bus);
    for (size_t i = 0; unit && i < sizeof options / sizeof *options && at < size; i++) {
        auto_message *value = NULL;
        /* an older systemd does not know them all */
        if (sd_bus_call_method(bus, SYSTEMD, unit, "org.freedesktop.DBus.Properties", "Get", NULL, &value,
                               "ss", SERVICE, options[i].name) < 0 ||
            sd_bus_message_enter_container(value, 'v', NULL) <= 0 || !is_used(value, options[i].unused))
            continue;
        at += (size_t)snprintf(buf + at, size - at, "%s%s=", at ? ", " : "", options[i].name);
    }
}

struct container {
    const char *path;
    size_t len; /* of the longest mount point found so far that contains the path */
    bool shared, slave;
};

static bool contains(void *arg, const struct mount_entry *e)
{
    struct container *c = arg;
    size_t len = strlen(e->mountpoint);
    if (len == 1) /* "/" */
        len = 0;
    /* >=: of several mounts at one place the last is on top */
    if (len >= c->len && strncmp(c->path, e->mountpoint, len) == 0 &&
        (c->path[len] == '/' || c->path[len] == '\0')) {
        c->len = len;
        c->slave = e->slave;
        c->shared = e->shared;
    }
    return false;
}

static bool first(void *arg, const struct mount_entry *e)
{
    *(unsigned *)arg = e->id;
    return true;
}

/* Are we in a mount namespace of our own? Asks for the id of the first mount, which belongs to one namespace
 * only: the namespace's own name is for CAP_SYS_PTRACE. */
static bool is_apart(void)
{
    unsigned ours = 0, init = 0;
    struct error ignored;
    return mountinfo_each("self", first, &ours, &ignored) == 1 &&
           mountinfo_each("1", first, &init, &ignored) == 1 && ours != init;
}

int sandbox_check_visible(const struct settings *settings, struct error *err)
{
    char names[256];
    auto_free char *path = realpath(settings->mount_root, NULL);
    if (!path)
        return error_set(err, -errno, "cannot look at %s: %s", settings->mount_root, error_text(errno));
    struct container c = { .path = path };
    int rc = mountinfo_each("self", contains, &c, err);
    if (rc < 0)
        return rc;
    /* A slave receives mounts and gives none. What is private is as bad, when the rest of a host that systemd
     * runs is somewhere else; elsewhere Docker may be in here with us. */
    if (!c.slave && (c.shared || sd_booted() <= 0 || !is_apart()))
        return 0;
    sandbox_options(names, sizeof names);
    if (*names)
        return error_set(
            err, -EXDEV,
            "mount-root %s is in a mount namespace of this service's own: what is mounted there would "
            "be invisible to Docker; remove %s from the systemd unit ('systemctl cat' shows it)",
            path, names);
    return error_set(
        err, -EXDEV,
        "mount-root %s is in a mount namespace of this process's own: what is mounted there would be "
        "invisible to Docker; run it where Docker runs, or share the mount (of a container: 'rshared'; of a "
        "systemd unit: without PrivateTmp=, ProtectSystem=, ReadWritePaths=, MountFlags= and their like)",
        path);
}
