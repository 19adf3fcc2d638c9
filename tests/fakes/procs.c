/* SPDX-License-Identifier: MIT */
#include "host/procs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/identity.h"
#include "fakes/world.h"

#define PROCESSES 256

static struct {
    pid_t pid;
    uint64_t start;
} processes[PROCESSES]; /* the world's lock guards all that is here */
static char pinned[128], elsewhere[128];

void fake_processes_reset(void)
{
    memset(processes, 0, sizeof processes);
    pinned[0] = elsewhere[0] = '\0';
}

static void set(pid_t was, pid_t pid, uint64_t start)
{
    fake_lock();
    for (size_t i = 0; i < PROCESSES; i++)
        if (processes[i].pid == was) {
            processes[i].pid = pid;
            processes[i].start = start;
            break;
        }
    fake_unlock();
}

void fake_process_add(pid_t pid, uint64_t start)
{
    set(0, pid, start);
}

void fake_process_end(pid_t pid)
{
    if (pid)
        set(pid, 0, 0);
}

void fake_pin(const char *who)
{
    fake_lock();
    (void)snprintf(pinned, sizeof pinned, "%s", who ? who : "");
    fake_unlock();
}

void fake_mounted_elsewhere(const char *who)
{
    fake_lock();
    (void)snprintf(elsewhere, sizeof elsewhere, "%s", who ? who : "");
    fake_unlock();
}

const char *fake_pinned_by(void)
{
    return pinned;
}

bool fake_minor_elsewhere(unsigned minor)
{
    (void)minor;
    return elsewhere[0] != '\0';
}

int procs_start_time(pid_t pid, uint64_t *ret)
{
    int rc = -ESRCH;
    fake_lock();
    for (size_t i = 0; i < PROCESSES; i++)
        if (pid && processes[i].pid == pid) {
            *ret = processes[i].start;
            rc = 0;
        }
    fake_unlock();
    return rc;
}

bool procs_alive(pid_t pid, uint64_t start)
{
    uint64_t now;
    return procs_start_time(pid, &now) == 0 && now == start;
}

static int tell(const char *text, char *who, size_t size)
{
    fake_lock();
    bool any = text[0] != '\0';
    if (any)
        (void)snprintf(who, size, "%s", text);
    fake_unlock();
    return any;
}

int procs_pinning(unsigned major, unsigned minor, const char *except_mountpoint, char *who, size_t size)
{
    (void)major;
    (void)minor;
    (void)except_mountpoint;
    return tell(pinned, who, size);
}

int procs_mounted_elsewhere(unsigned major, unsigned minor, const char *except_mountpoint, char *who,
                            size_t size)
{
    (void)major;
    (void)minor;
    (void)except_mountpoint;
    return tell(elsewhere, who, size);
}
