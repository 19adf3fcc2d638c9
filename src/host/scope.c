/* SPDX-License-Identifier: MIT */
#include "host/scope.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>

#include "base/cleanup.h"

#define UNIT_NAME_MAX 255      /* systemd's UNIT_NAME_MAX - 1 */
#define STOP_US       60000000 /* a mapper ends by itself 2 s after its volume was unmounted */

#define auto_bus     CLEANUP(sd_bus_close_unrefp) sd_bus
#define auto_message CLEANUP(sd_bus_message_unrefp) sd_bus_message

static bool is_plain(const char *path, const char *p)
{
    static const char also[] = ":_";
    if (*p == '.')
        return p != path; /* at the beginning it would hide a file */
    return (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
           strchr(also, *p) != NULL;
}

int scope_mount_unit(const char *path, char *buf, size_t size)
{
    size_t at = 0;
    while (*path == '/')
        path++;
    if (!*path)
        return snprintf(buf, size, "-.mount") < (int)size ? 0 : -ENAMETOOLONG;
    for (const char *p = path; *p; p++) {
        if (at + sizeof "\\x00.mount" > size || at + strlen("\\x00.mount") > UNIT_NAME_MAX)
            return -ENAMETOOLONG;
        if (*p == '/' && (p[1] == '/' || p[1] == '\0'))
            continue;
        if (*p == '/')
            buf[at++] = '-';
        else if (is_plain(path, p))
            buf[at++] = *p;
        else
            at += (size_t)snprintf(buf + at, size - at, "\\x%02x", (unsigned char)*p);
    }
    memcpy(buf + at, ".mount", sizeof ".mount");
    return 0;
}

static int add_text(sd_bus_message *m, const char *name, const char *value)
{
    return sd_bus_message_append(m, "(sv)", name, "s", value);
}

static int add_flag(sd_bus_message *m, const char *name, bool value)
{
    return sd_bus_message_append(m, "(sv)", name, "b", (int)value);
}

/* What comes before what. Starting goes this way, stopping the other: mount, scope, network. */
static int add_order(sd_bus_message *m, const struct scope *scope)
{
    char mount[UNIT_NAME_MAX + 1];
    int rc = sd_bus_message_append(m, "(sv)(sv)", "After", "as", 1, "network.target", "Conflicts", "as", 1,
                                   "shutdown.target");
    if (rc < 0)
        return rc;
    if (!scope->mountpoint || scope_mount_unit(scope->mountpoint, mount, sizeof mount) < 0)
        return sd_bus_message_append(m, "(sv)", "Before", "as", 1, "shutdown.target");
    return sd_bus_message_append(m, "(sv)", "Before", "as", 2, "shutdown.target", mount);
}

static int add_properties(sd_bus_message *m, const struct scope *scope, pid_t pid)
{
    int rc = sd_bus_message_open_container(m, 'a', "(sv)");
    if (rc >= 0)
        rc = add_text(m, "Description", scope->description);
    if (rc >= 0)
        rc = sd_bus_message_append(m, "(sv)", "PIDs", "au", 1, (uint32_t)pid);
    /* the order is our own: the default one has it stopped in any order with the mounts */
    if (rc >= 0)
        rc = add_flag(m, "DefaultDependencies", false);
    if (rc >= 0)
        rc = add_order(m, scope);
    if (rc >= 0)
        rc = add_flag(m, "SendSIGKILL", false);
    if (rc >= 0)
        rc = sd_bus_message_append(m, "(sv)(sv)", "TimeoutStopUSec", "t", (uint64_t)STOP_US, "TasksMax", "t",
                                   UINT64_MAX);
    if (rc >= 0)
        rc = add_text(m, "CollectMode", "inactive-or-failed");
    return rc < 0 ? rc : sd_bus_message_close_container(m);
}

static uint64_t left_us(moment deadline)
{
    return (uint64_t)clock_left_ms(deadline) * 1000;
}

/* A call's time-out does not count until the bus has let us in, for which the library waits 90 s. */
static int wait_let_in(sd_bus *bus, moment deadline)
{
    int rc;
    while ((rc = sd_bus_is_ready(bus)) == 0) {
        rc = sd_bus_process(bus, NULL);
        if (rc < 0)
            return rc;
        if (rc > 0)
            continue;
        uint64_t us = left_us(deadline);
        rc = us ? sd_bus_wait(bus, us) : -ETIMEDOUT;
        if (rc < 0 && rc != -EINTR)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int start_unit(sd_bus *bus, const struct scope *scope, pid_t pid, moment deadline, sd_bus_error *why)
{
    char unit[UNIT_NAME_MAX + 1];
    auto_message *m = NULL;
    auto_message *reply = NULL;
    if (snprintf(unit, sizeof unit, "%s.scope", scope->name) >= (int)sizeof unit)
        return -ENAMETOOLONG;
    int rc = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                            "org.freedesktop.systemd1.Manager", "StartTransientUnit");
    if (rc >= 0)
        rc = sd_bus_message_append(m, "ss", unit, "fail");
    if (rc >= 0)
        rc = add_properties(m, scope, pid);
    if (rc >= 0)
        rc = sd_bus_message_append(m, "a(sa(sv))", 0);
    /* 0 would be the library's own 25 s */
    uint64_t us = left_us(deadline);
    return rc < 0 ? rc : sd_bus_call(bus, m, us ? us : 1, why, &reply);
}

int scope_move(const struct scope *scope, pid_t pid, moment deadline, struct error *err)
{
    auto_bus *bus = NULL;
    if (sd_booted() <= 0)
        return 0;
    int rc = sd_bus_open_system(&bus);
    if (rc < 0)
        return error_set(err, rc, "cannot ask systemd for a scope: no system bus: %s", error_text(-rc));
    rc = wait_let_in(bus, deadline);
    if (rc < 0)
        return error_set(err, rc, "cannot ask systemd for a scope: the system bus does not let us in: %s",
                         error_text(-rc));
    sd_bus_error why = SD_BUS_ERROR_NULL;
    rc = start_unit(bus, scope, pid, deadline, &why);
    if (rc < 0)
        (void)error_set(err, rc, "systemd made no scope: %s", why.message ? why.message : error_text(-rc));
    sd_bus_error_free(&why);
    return rc < 0 ? rc : 1;
}
