/* SPDX-License-Identifier: MIT */
#include "volume/lost.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "host/loop.h"
#include "host/procs.h"
#include "volume/ownership.h"
#include "volume/statefile.h"

#define ASK_AGAIN_MS 5000  /* when it could not be asked */
#define ASK_ANEW_MS  30000 /* when it was: owners change */
#define POLL_MS      10

void lost_mark(struct volumes *e, struct volume *v, const char *why)
{
    char full[IMAGE_NAME_MAX + 1];
    if (v->lost)
        return;
    v->lost = true;
    v->reviving = false;
    v->stuck_since = v->orphaned = 0;
    v->unowned = 0;
    v->loss = (struct volume_loss){ .at = time(NULL) };
    (void)snprintf(v->loss.why, sizeof v->loss.why, "%s", why);
    v->retry_at = clock_now(); /* also when the gate is somebody's just now */
    log_error("lost volume=%s mapper=%s address=%s holders=%zu: %s; all its I/O fails, its mount is taken "
              "down",
              image_name_full(&v->name, full), v->facts.mapper, v->mapping.address, v->holders.n, why);
    statefile_save(e, v);
    pthread_cond_broadcast(&v->changed);
}

bool lost_is_wanted(const struct volume *v)
{
    return holders_pending(&v->holders);
}

void lost_revive(struct volume *v)
{
    v->lost = false;
    v->reviving = true;
}

void lost_revived(struct volume *v, bool mounted)
{
    v->lost = !mounted;
    v->reviving = false;
    if (mounted)
        v->loss = (struct volume_loss){ 0 };
}

bool lost_is_to_be_asked(const struct volume *v)
{
    return v->lost && v->holders.n > 0 && v->rung < RUNG_MOUNTED && clock_left_ms(v->loss.ask_at) == 0;
}

/* Whose is it now? */
static int look(struct volumes *e, const struct volume *v, char *text, size_t size, struct error *err)
{
    char owner[OWNERSHIP_TEXT_MAX];
    auto_place struct place p = PLACE_NONE;
    struct ownership o = { 0 };
    int rc = engine_place(e, &v->name, &p, err);
    if (rc == 0)
        rc = ownership_look(e, &p, v->image_id, &o, err);
    if (rc < 0)
        return rc;
    if (o.kind == OWNER_NONE)
        (void)snprintf(text, size, "nobody has it now");
    else if (o.kind == OWNER_SELF)
        (void)snprintf(text, size,
                       "its lock is still that of the lost mapping, %s: whoever takes it next "
                       "fences that first",
                       ownership_text(&o, owner));
    else
        (void)snprintf(text, size, "%s has it now", ownership_text(&o, owner));
    return 0;
}

void lost_ask(struct volumes *e, struct volume *v)
{
    struct error err;
    char text[sizeof v->loss.now], full[IMAGE_NAME_MAX + 1];
    volume_says(v, "looking at");
    int rc = look(e, v, text, sizeof text, &err);
    if (rc < 0)
        (void)snprintf(text, sizeof text, "who has it now is not known: %s", err.msg);
    text_printable(text); /* where it was cut */
    LOCK_SCOPE(&v->lock);
    v->loss.asked = rc == 0;
    v->loss.ask_at = clock_in_ms(rc == 0 ? ASK_ANEW_MS : ASK_AGAIN_MS);
    if (strcmp(v->loss.now, text) == 0)
        return;
    if (rc == 0)
        log_notice("lost volume=%s: %s", image_name_full(&v->name, full), text);
    memcpy(v->loss.now, text, sizeof v->loss.now);
    statefile_save(e, v);
}

/* Is there still a device? A loop device frees itself with its last user, and its number is given to others
 * then. */
static bool device_is_there(const struct volume *v)
{
    struct device_node node;
    return v->node.path[0] && (!v->mapping.file[0] || loop_named(v->mapping.file, &node) == 1);
}

int lost_check_unused(struct volumes *e, struct volume *v, moment deadline, struct error *err)
{
    char who[160], mountpoint[PATH_MAX];
    engine_mountpoint(e, &v->name, mountpoint);
    while (device_is_there(v)) {
        if (procs_pinning(v->node.major, v->node.minor, mountpoint, who, sizeof who) == 1)
            return error_set(err, -EBUSY,
                             "the volume was lost on this host (%s), and %s still has what was mounted: stop "
                             "that first",
                             v->loss.why, who);
        if (!v->mapping.file[0])
            return 0;
        if (clock_left_ms(deadline) == 0)
            return error_set(err, -EBUSY,
                             "the volume was lost on this host (%s), and something still has its old device "
                             "%s open",
                             v->loss.why, v->node.path);
        clock_pause_ms(POLL_MS);
    }
    return 0;
}

const char *lost_text(const struct volume *v, char *buf, size_t size)
{
    char since[32];
    clock_rfc3339(v->loss.at, since, sizeof since);
    (void)snprintf(buf, size, "lost since %s: %s%s%s", since, v->loss.why, v->loss.now[0] ? "; " : "",
                   v->loss.now);
    return buf;
}
