/* SPDX-License-Identifier: MIT */
#include "mapper/change.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/channel.h"
#include "ceph/imagechange.h"

static void *run(void *arg)
{
    struct change *c = arg;
    uint64_t one = 1;
    if (image_change(c->image->rbd, &c->what, &c->outcome) == 0)
        c->outcome.code = 0;
    if (c->what.what == IMAGE_GROW)
        image_check_size(c->image); /* before who asked looks at the file */
    atomic_store(&c->running, false);
    if (write(c->wake, &one, sizeof one) < 0)
        return NULL; /* full: it is awake */
    return NULL;
}

int change_start(struct change *c, struct image *image, int wake, const json_t *msg, struct error *err)
{
    pthread_t thread;
    const char *snap = json_string_value(json_object_get(msg, "snap"));
    json_int_t what = json_integer_value(json_object_get(msg, "what"));
    json_int_t size = json_integer_value(json_object_get(msg, "size"));
    if (what < IMAGE_GROW || what > IMAGE_SNAP_REMOVE || size < 0 || !snap || strlen(snap) > SNAP_NAME_MAX)
        return error_set(err, -EINVAL, "a change that this mapper does not know");
    c->image = image;
    c->wake = wake;
    (void)snprintf(c->snap, sizeof c->snap, "%s", snap);
    c->what = (struct image_change){ (enum image_change_what)what, (uint64_t)size, c->snap };
    c->outcome = (struct error){ 0 };
    atomic_store(&c->running, true);
    int rc = -pthread_create(&thread, NULL, run, c);
    if (rc < 0) {
        atomic_store(&c->running, false);
        return error_set(err, rc, "cannot start a thread: %s", error_text(rc));
    }
    (void)pthread_detach(thread);
    return 0;
}

bool change_running(const struct change *c)
{
    return atomic_load(&c->running);
}

json_t *change_answer(const struct change *c)
{
    return c->outcome.code ? channel_refusal(&c->outcome) : json_pack("{s:b}", "ok", 1);
}
