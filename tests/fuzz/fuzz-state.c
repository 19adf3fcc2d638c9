/* SPDX-License-Identifier: MIT */
/* The input is a volume's file in the state directory, written while the boot id was BOOT. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "fuzz.h"
#include "volume/statefile.h"

#define BOOT "0b0b0b0b-0b0b-0b0b-0b0b-0b0b0b0b0b0b"

static char dir[64], path[96];

static void end(void)
{
    (void)unlink(path);
    (void)rmdir(dir);
}

static void begin(void)
{
    if (dir[0])
        return;
    log_set_level((enum log_level)(LOG_LEVEL_ERR - 1));
    (void)snprintf(dir, sizeof dir, "%s/rbdvol-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir))
        abort();
    (void)snprintf(path, sizeof path, "%s/a.json", dir);
    (void)atexit(end);
}

static bool has_name(const struct image_name *n)
{
    return text_is_name(n->pool) && text_is_name(n->image) && (!n->ns[0] || text_is_name(n->ns));
}

/* What is taken is a name that is safe in a path, and holders that can be written again as they are. */
static void visit(struct volumes *e, const struct state *s)
{
    struct holders all = { 0 }, again = { 0 };
    (void)e;
    if (!has_name(&s->name))
        abort();
    holders_load(&all, s->holders);
    json_auto_t *written = holders_json(&all, true);
    holders_load(&again, written);
    json_auto_t *second = holders_json(&again, true);
    if (!json_equal(written, second))
        abort();
    holders_done(&all);
    holders_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct volumes engine;
    struct error err;
    begin();
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    (void)snprintf(engine.volumes_dir, sizeof engine.volumes_dir, "%s", dir);
    (void)snprintf(engine.host.boot_id, sizeof engine.host.boot_id, "%s", BOOT);
    if (statefile_each(&engine, visit, &err) < 0)
        abort();
    return 0;
}
