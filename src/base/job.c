/* SPDX-License-Identifier: MIT */
#include "base/job.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/log.h"

struct job {
    int (*work)(void *arg, struct error *err);
    void (*release)(void *arg);
    void *arg;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    bool done, abandoned;
    int rc;
    struct error err;
};

static void job_free(struct job *j)
{
    pthread_cond_destroy(&j->ended);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

static void *run(void *arg)
{
    struct job *j = arg;
    struct error err = { 0 };
    int rc = j->work(j->arg, &err);
    j->release(j->arg);
    pthread_mutex_lock(&j->lock);
    j->rc = rc;
    j->err = err;
    j->done = true;
    bool abandoned = j->abandoned;
    pthread_cond_broadcast(&j->ended);
    pthread_mutex_unlock(&j->lock);
    if (abandoned) { /* nobody else will say it */
        if (rc < 0)
            log_warning("after its caller had been answered: %s", err.msg);
        job_free(j);
    }
    return NULL;
}

int job_run(int (*work)(void *arg, struct error *err), void (*release)(void *arg), void *arg, moment deadline,
            struct error *err)
{
    pthread_t thread;
    struct timespec until = clock_spec(deadline);
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        abort();
    *j = (struct job){ .work = work, .release = release, .arg = arg };
    pthread_mutex_init(&j->lock, NULL);
    clock_cond_init(&j->ended);
    int rc = -pthread_create(&thread, NULL, run, j);
    if (rc < 0) {
        release(arg);
        job_free(j);
        return error_set(err, rc, "cannot start a thread: %s", error_text(rc));
    }
    pthread_detach(thread);
    pthread_mutex_lock(&j->lock);
    while (!j->done && pthread_cond_timedwait(&j->ended, &j->lock, &until) == 0)
        ;
    bool done = j->done;
    j->abandoned = !done;
    pthread_mutex_unlock(&j->lock);
    if (!done)
        return error_set(err, -EINPROGRESS, "it takes longer than its budget, and goes on; try again");
    rc = j->rc;
    if (rc < 0)
        *err = j->err;
    job_free(j);
    return rc;
}
