/* SPDX-License-Identifier: MIT */
/* The input is what the kernel's rbd driver shows: a line for each attribute of a device, and one for a block
 * device's counters. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "host/blockstat.h"
#include "host/krbd.h"

static const char *const attributes[] = {
    "devices/7/major",        "devices/7/minor",    "devices/7/pool_id",
    "devices/7/cluster_fsid", "devices/7/image_id", "devices/7/current_snap",
    "devices/7/client_addr",  "devices/7/pool_ns",  "supported_features",
};
#define NATTRIBUTES (sizeof attributes / sizeof *attributes)

static char root[64];
static int files[NATTRIBUTES];

static void end(void)
{
    for (size_t i = 0; i < NATTRIBUTES; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", root, attributes[i]);
        (void)unlink(path);
    }
    static const char *const dirs[] = { "devices/7", "devices", "" };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", root, dirs[i]);
        (void)rmdir(path);
    }
}

static void begin(void)
{
    char path[128];
    if (root[0])
        return;
    (void)snprintf(root, sizeof root, "%s/rbdvol-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(root))
        abort();
    (void)snprintf(path, sizeof path, "%s/devices", root);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/devices/7", root);
    (void)mkdir(path, 0700);
    for (size_t i = 0; i < NATTRIBUTES; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", root, attributes[i]);
        files[i] = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (files[i] < 0)
            abort();
    }
    (void)atexit(end);
}

/* One attribute of the input: a line, with its end. Returns what is left. */
static size_t take(const uint8_t **data, size_t size, int file)
{
    const uint8_t *next = memchr(*data, '\n', size);
    size_t len = next ? (size_t)(next - *data) + 1 : size;
    if (ftruncate(file, 0) < 0 || pwrite(file, *data, len, 0) != (ssize_t)len)
        abort();
    *data += len;
    return size - len;
}

static void check(const struct krbd_device *d)
{
    struct krbd_device again;
    if (d->pool_id < 0 || strlen(d->fsid) >= sizeof d->fsid || strlen(d->image_id) >= sizeof d->image_id ||
        strlen(d->address) >= sizeof d->address || strchr(d->address, '\n'))
        abort();
    int found = krbd_find(root, d->fsid, d->pool_id, d->ns, d->image_id, &again);
    if (found != (strcmp(d->snap, "-") == 0) || (found && again.number != d->number))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct image_name name = { .pool = "rbd", .image = "db" };
    struct krbd_device d;
    struct mapping_health health = { 0 };
    struct error err = { 0 };
    begin();
    for (size_t i = 0; i < NATTRIBUTES; i++)
        size = take(&data, size, files[i]);
    if (krbd_read(root, 7, &d) == 0)
        check(&d);
    if (krbd_check(root, &name, 0x3d, &err) < 0 && !err.msg[0])
        abort();
    auto_free char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    blockstat_parse(text, &health);
    return 0;
}
