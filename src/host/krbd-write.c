/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/device.h"
#include "host/krbd.h"
#include "host/procs.h"

#define PROGRAM  "rbdvol-device"
#define KILL_MS  1000
#define PAUSE_MS 5

static int outcome(int status, struct error *err)
{
    if (status == KRBD_EXIT_KEY)
        return error_set(err, -ENOKEY,
                         "the kernel did not take the cephx key: does it have the modules libceph, aes and "
                         "cbc, and room in its keyrings (/proc/key-users)?");
    return status == 0 ? 0 : error_set(err, -status, "%s", error_text(status));
}

/* One that was killed leaves the kernel at once, or when the kernel lets go of it. */
static void await_end(const char *mapping)
{
    moment end = clock_in_ms(KILL_MS);
    while (krbd_writer(mapping, NULL) != 0 && clock_left_ms(end) > 0)
        clock_pause_ms(PAUSE_MS);
}

int krbd_write(const struct krbd_write *w, moment deadline, struct error *err)
{
    const struct device_key key = { .name = w->key_name, .bytes = w->key, .len = w->key_len };
    struct device *d = NULL;
    int status = 0;
    int rc = device_start(&d, err);
    if (rc == 0)
        rc = device_krbd(d, w->mapping, w->file, w->text, &key, deadline, &status, err);
    device_end(d);
    if (rc == -ETIMEDOUT) {
        await_end(w->mapping);
        return error_set(err, rc, "the kernel did not finish in time");
    }
    return rc < 0 ? rc : outcome(status, err);
}

struct writer {
    const char *mapping;
    pid_t pid;
    bool unknown;
};

static bool is_writer(void *arg, pid_t pid, char *const *argv)
{
    struct writer *w = arg;
    w->unknown |= !argv; /* it may be, or do something else */
    if (!argv || !argv[1] || strcmp(argv[1], DEVICE_KRBD) != 0 || !argv[2] ||
        strcmp(argv[2], w->mapping) != 0)
        return false;
    w->pid = pid;
    return true;
}

int krbd_writer(const char *mapping, pid_t *ret)
{
    struct writer w = { .mapping = mapping };
    int rc = procs_each(PROGRAM, is_writer, &w);
    if (ret)
        *ret = w.pid;
    return rc == 0 && w.unknown ? -EAGAIN : rc;
}
