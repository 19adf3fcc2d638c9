/* SPDX-License-Identifier: MIT */
#include "mapper/spare.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/clock.h"

#define WAIT_MS 86400000

/* Our argv, as that of any mapper: the daemon and its successors know us by it. The kernel shows the memory
 * that it was given in; what is left of that belongs to the last word. */
static void argv_put(char *room, const struct image_options *image, const char *mapping)
{
    size_t size = strlen(room) + 1, at = 0;
    const char *const names[] = { "mapping", "pool", "namespace", "image", "image-id" };
    const char *const values[] = { mapping, image->pool, image->ns, image->name, image->id };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i]) + strlen(values[i]) + sizeof "--=";
        if (!*values[i] || at + len >= size)
            continue;
        at += (size_t)snprintf(room + at, size - at, "--%s=%s", names[i], values[i]) + 1;
    }
    if (image->ro && at + sizeof "--ro" < size)
        (void)snprintf(room + at, size - at, "--ro");
}

static void obey(const json_t *what, struct image_options *image, const char **mapping, const char **key_file)
{
    int ro;
    /* jansson's unpack only reads, but has no const */
    if (json_unpack((json_t *)(uintptr_t)what, "{s:s, s:s, s:s, s:s, s:s, s:b, s?s}", "mapping", mapping,
                    "pool", &image->pool, "namespace", &image->ns, "image", &image->name, "image_id",
                    &image->id, "ro", &ro, "key_file", key_file) < 0)
        _exit(2);
    image->ro = ro;
}

void spare_wait(int fuse, int control, char *room, struct image_options *image, const char **mapping,
                const char **key_file)
{
    struct error err;
    json_t *what = NULL; /* its strings are ours from now on */
    int fds[2], rc;
    while ((rc = channel_receive_fds(control, clock_in_ms(WAIT_MS), &what, fds, 2, &err)) == -ETIMEDOUT)
        ;
    if (rc < 0)
        _exit(0); /* nobody has us, and we have nothing */
    obey(what, image, mapping, key_file);
    if (dup2(fds[0], fuse) < 0 || dup2(fds[1], control) < 0)
        _exit(2);
    (void)close(fds[0]);
    (void)close(fds[1]);
    argv_put(room, image, *mapping);
}
