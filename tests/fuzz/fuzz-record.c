/* SPDX-License-Identifier: MIT */
/* The input is the record of a mapping in the state directory. The first BOOT in it stands for this host's
 * boot id. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/identity.h"
#include "base/text.h"
#include "fuzz.h"
#include "host/mapping-record.h"

#define BOOT    "BOOT"
#define KIND    "nbd"
#define MAPPING "0123456789abcdef"

static char dir[64], path[96];
static struct identity host;

static void end(void)
{
    (void)unlink(path);
    (void)rmdir(dir);
}

static void begin(void)
{
    struct error err;
    if (dir[0])
        return;
    (void)snprintf(dir, sizeof dir, "%s/rbdvol-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir) || identity_read(&host, &err) < 0)
        abort();
    (void)snprintf(path, sizeof path, "%s/" MAPPING "." KIND, dir);
    (void)atexit(end);
}

static void put(const uint8_t *data, size_t size)
{
    const uint8_t *boot = memmem(data, size, BOOT, strlen(BOOT));
    size_t before = boot ? (size_t)(boot - data) : size;
    size_t rest = boot ? before + strlen(BOOT) : size;
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, before) != (ssize_t)before ||
        (boot && dprintf(fd, "%s", host.boot_id) < 0) ||
        write(fd, data + rest, size - rest) != (ssize_t)(size - rest))
        abort();
}

static bool same(const struct mapping_record *a, const struct mapping_record *b)
{
    return strcmp(a->name.pool, b->name.pool) == 0 && strcmp(a->name.ns, b->name.ns) == 0 &&
           strcmp(a->name.image, b->name.image) == 0 && strcmp(a->image_id, b->image_id) == 0 &&
           strcmp(a->fsid, b->fsid) == 0 && a->pool_id == b->pool_id && a->ro == b->ro;
}

/* It has a name that is safe in a path, and is written as it was read. */
static bool visit(void *arg, const struct mapping_record *r)
{
    struct mapping_record again;
    struct error err;
    (void)arg;
    if (!text_is_name(r->name.pool) || !text_is_name(r->name.image) ||
        (r->name.ns[0] && !text_is_name(r->name.ns)) || strcmp(r->mapping, MAPPING) != 0)
        abort();
    if (mapping_record_write(dir, KIND, r, &err) < 0 ||
        mapping_record_read(dir, KIND, MAPPING, &again, &err) != 1 || !same(r, &again))
        abort();
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    begin();
    put(data, size);
    if (mapping_record_each(dir, KIND, visit, NULL, &err) < 0 || mapping_record_sweep(dir, KIND, &err) < 0)
        abort();
    return 0;
}
