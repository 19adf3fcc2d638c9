/* SPDX-License-Identifier: MIT */
#include "volume/drive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "volume/hindrance.h"
#include "volume/ladder.h"
#include "volume/lost.h"
#include "volume/reattach.h"
#include "volume/reversal.h"
#include "volume/statefile.h"

#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000

/* Is it to be mounted? A lost one only when somebody asks for it anew: not for those who had it. */
static bool wants_up(const struct volume *v)
{
    return v->holders.n > 0 && !v->lost && (!v->reviving || lost_is_wanted(v));
}

bool drive_settled(const struct volume *v)
{
    if (v->orphaned || v->owed.what != OWED_NOTHING)
        return false;
    if (v->lost && v->holders.n > 0 && (lost_is_wanted(v) || !v->loss.asked || lost_is_to_be_asked(v)))
        return false;
    return v->rung == (wants_up(v) ? RUNG_MOUNTED : RUNG_DETACHED) && !v->reviving;
}

/* A climb failed: nobody holds the volume who has not been told so. With the lock held. */
static void climb_failed(struct volumes *e, struct volume *v, const struct error *err)
{
    v->failures++;
    v->failure = *err;
    holders_retract_all(&v->holders);
    statefile_save(e, v);
    pthread_cond_broadcast(&v->changed);
}

/* With the lock held. */
static void try_later(struct volume *v, const struct error *err)
{
    int64_t wait = RETRY_MIN_MS;
    for (unsigned i = 0; i < v->retries && wait < RETRY_MAX_MS; i++)
        wait *= 2;
    v->retries++;
    v->retry_at = clock_in_ms(wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
    v->trouble = *err;
}

struct run {
    struct volumes *engine;
    struct volume *volume;
};

/* It is where it should be. With the lock held. */
static void settled(struct volume *v)
{
    v->retry_at = 0;
    v->retries = 0;
    v->trouble = (struct error){ 0 };
}

/* What a lost volume needs beside the ladder. true: something was done. With the lock held, which it lets go
 * of meanwhile. */
static bool step_lost(struct volumes *e, struct volume *v)
{
    if (v->reviving && (v->rung == RUNG_MOUNTED || (v->rung == RUNG_DETACHED && !lost_is_wanted(v)))) {
        lost_revived(v, v->rung == RUNG_MOUNTED);
        return true;
    }
    if (!v->lost)
        return false;
    if (v->rung == RUNG_DETACHED && lost_is_wanted(v)) {
        lost_revive(v);
        return true;
    }
    if (!lost_is_to_be_asked(v) || lost_is_wanted(v))
        return false;
    pthread_mutex_unlock(&v->lock);
    lost_ask(e, v);
    pthread_mutex_lock(&v->lock);
    return true;
}

/* Its device waits for a process, in place of one that ended: what is mounted goes on with it, whoever wants
 * what then. Otherwise the volume is lost. Like step(). */
static bool step_orphaned(struct volumes *e, struct volume *v)
{
    struct error err = { 0 };
    char why[sizeof v->loss.why];
    int rc = error_set(&err, -EIO, "it was not mounted");
    if (v->rung == RUNG_MOUNTED) {
        pthread_mutex_unlock(&v->lock);
        rc = reattach_run(e, v, &err);
        pthread_mutex_lock(&v->lock);
    }
    if (rc == -EAGAIN) {
        try_later(v, &err);
        return false;
    }
    v->orphaned = 0;
    (void)snprintf(why, sizeof why, "its mapping process has ended, and no other could take its place: %s",
                   err.msg);
    if (rc < 0)
        lost_mark(e, v, why);
    return true;
}

/* Went up, and was lost by that: its callers are told, as of any climb that failed. With the lock held. */
static int check_lost(const struct volume *v, struct error *err)
{
    if (!v->lost)
        return 0;
    return error_set(err, -EIO, "the volume was lost while it was being mounted: %s", v->loss.why);
}

/* What is owed comes first: who waits for the volume fails as long as that does. With the lock held, which it
 * lets go of meanwhile. false: it is tried again soon. */
static bool step_back(struct volumes *e, struct volume *v)
{
    struct error err = { 0 };
    pthread_mutex_unlock(&v->lock);
    int rc = reversal_run(e, v, &err);
    pthread_mutex_lock(&v->lock);
    if (rc == 0)
        return true;
    if (wants_up(v))
        climb_failed(e, v, &err);
    v->retries = 0;
    try_later(v, &err);
    return false;
}

/* Half way down, from where it does not go up: what an earlier daemon had looked at is not known, nor does a
 * mapping that is ending show the image. With the lock held. */
static bool must_go_down(const struct volume *v)
{
    return v->redo || v->mapping.going;
}

/* One step in the direction that the holders want. false: there is nothing (more) to do now. The lock is held
 * at entry and at exit, not between. */
static bool step(struct volumes *e, struct volume *v)
{
    struct error err = { 0 };
    if (drive_settled(v)) {
        settled(v);
        return false;
    }
    if (v->orphaned)
        return step_orphaned(e, v);
    if (v->owed.what != OWED_NOTHING)
        return step_back(e, v);
    if (step_lost(e, v))
        return true;
    if (v->rung == RUNG_DETACHED) {
        v->redo = false;
        if (!wants_up(v)) { /* lost, and who has it could not be asked */
            error_set(&err, -EAGAIN, "%s", v->loss.now);
            try_later(v, &err);
            return false;
        }
    }
    bool up = wants_up(v) && !must_go_down(v);
    pthread_mutex_unlock(&v->lock);
    int rc = up ? ladder_up(e, v, &err) : ladder_down(e, v, &err);
    pthread_mutex_lock(&v->lock);
    if (rc == 0 && up)
        rc = check_lost(v, &err);
    if (rc == 0)
        return true;
    /* A climb's failure is its callers' answer, and logged there; a descent's may have nobody to tell it to,
     * and comes back with each retry: said once. */
    if (!up && strcmp(v->trouble.msg, err.msg) != 0)
        log_warning("%s; the lock is kept, and it is tried again", err.msg);
    if (up) {
        climb_failed(e, v, &err);
        if (!wants_up(v))
            return true; /* descend to where it came from */
    } else if (wants_up(v) && !must_go_down(v)) {
        return true; /* somebody wants it again, and need not wait for the retry */
    } else if (v->retries > 0 &&
               v->rung >= RUNG_MAPPED) { /* the first time its caller waits for the answer */
        pthread_mutex_unlock(&v->lock);
        hindrance_tell(e, v, &err);
        pthread_mutex_lock(&v->lock);
    }
    if (wants_up(v) && v->mapping.going)
        v->retries = 0; /* who wants it waits for that */
    try_later(v, &err);
    return false;
}

static void *drive(void *arg)
{
    struct run *run = arg;
    struct volumes *e = run->engine;
    struct volume *v = run->volume;
    free(run);
    pthread_mutex_lock(&v->lock);
    while (step(e, v))
        ;
    v->busy = NULL;
    v->driven = false;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
    registry_release(&e->registry, v);
    engine_work_ends(e);
    return NULL;
}

void drive_kick(struct volumes *e, struct volume *v)
{
    pthread_t thread;
    {
        LOCK_SCOPE(&v->lock);
        if (!v->busy && drive_settled(v))
            settled(v); /* also by who came: a Mount after an Unmount that failed */
        if (v->busy || drive_settled(v))
            return;
        v->busy = wants_up(v) || lost_is_wanted(v) ? "mounting" : "unmounting";
        v->busy_since = clock_now();
        v->driven = true;
        v->retry_at = 0;
    }
    engine_work_begins(e);
    struct run *run = malloc(sizeof *run);
    if (!run)
        abort();
    *run = (struct run){ e, registry_hold(&e->registry, v) };
    int rc = pthread_create(&thread, NULL, drive, run);
    if (rc == 0) {
        pthread_detach(thread);
        return;
    }
    struct error err;
    error_set(&err, -rc, "cannot start a thread to work on the volume: %s", error_text(rc));
    free(run);
    {
        LOCK_SCOPE(&v->lock);
        v->busy = NULL;
        v->driven = false;
        if (v->holders.n > 0 && v->rung < RUNG_MOUNTED)
            climb_failed(e, v, &err);
        try_later(v, &err);
    }
    registry_release(&e->registry, v);
    engine_work_ends(e);
}

void drive_gate_leave(struct volumes *e, struct volume *v)
{
    volume_gate_leave(v);
    drive_kick(e, v);
}
