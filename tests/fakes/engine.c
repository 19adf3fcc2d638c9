/* SPDX-License-Identifier: MIT */
#include "fakes/engine.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define BUDGET_MS 10000
#define FORGET_MS 2000

static unsigned open_fds(void)
{
    unsigned n = 0;
    auto_dir DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    return n;
}

static void fail(const char *what)
{
    (void)fprintf(stderr, "fixture: %s\n", what);
    abort();
}

void fixture_init(struct fixture *f)
{
    struct error err;
    *f = (struct fixture){ 0 };
    fake_world_reset();
    if (!getenv("RBDVOL_TEST_LOG"))
        log_set_level((enum log_level)(LOG_LEVEL_ERR - 1));
    f->fds = open_fds();
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/rbdvol-unit-XXXXXX");
    if (!mkdtemp(f->dir))
        fail("no temporary directory");
    (void)snprintf(f->paths[0], sizeof f->paths[0], "%s/mnt", f->dir);
    (void)snprintf(f->paths[1], sizeof f->paths[1], "%s/state", f->dir);
    (void)snprintf(f->paths[2], sizeof f->paths[2], "%s/state/map", f->dir);
    (void)snprintf(f->paths[3], sizeof f->paths[3], "%s/state/volumes", f->dir);
    if (file_mkdirs(f->paths[2], 0700, &err) < 0 || file_mkdirs(f->paths[3], 0700, &err) < 0)
        fail(err.msg);
    static char name[] = "rbd", conf[] = "/nowhere/ceph.conf", ceph[] = "ceph", user[] = "rbdvol",
                none[] = "", xfs[] = "xfs", mount_options[] = "noatime,nodev,nosuid", automatic[] = "auto";
    f->settings = (struct settings){ .name = name,
                                     .ceph_conf = conf,
                                     .cluster = ceph,
                                     .user = user,
                                     .npools = 1,
                                     .ns = none,
                                     .mount_root = f->paths[0],
                                     .state_dir = f->paths[1],
                                     .scratch_dir = f->dir,
                                     .mapper = automatic,
                                     .create = true,
                                     .size = 20ULL << 30,
                                     .fstype = xfs,
                                     .mkfs_options = none,
                                     .mount_options = mount_options,
                                     .mode = 0755,
                                     .trash_keep_ms = 604800000,
                                     .trash_keep_anon_ms = 3600000,
                                     .silence_ms = 5000,
                                     .io_stuck_ms = 120000,
                                     .ceph_timeout_ms = 10000,
                                     .budget_ms = BUDGET_MS };
    (void)snprintf(f->settings.pools[0], sizeof f->settings.pools[0], "rbd");
}

/* The collector's first round would get in the way of counted calls. */
static void wait_for_start(struct fixture *f)
{
    struct cluster_status s;
    cluster_status(f->engine->cluster, &s);
    if (s.state == CLUSTER_UP)
        fake_wait_count("image_purge_own", f->settings.npools);
    else
        fake_wait_count("mapper_find", 1);
    fixture_settle(f);
}

void fixture_start(struct fixture *f)
{
    struct error err;
    if (volumes_start(&f->settings, &f->engine, &err) < 0)
        fail(err.msg);
    wait_for_start(f);
}

void fixture_setup(struct fixture *f)
{
    fixture_init(f);
    fixture_start(f);
}

void fixture_stop(struct fixture *f)
{
    fake_go_all(); /* a test that failed in the middle may have left some */
    volumes_stop(f->engine);
    f->engine = NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void fixture_remove(struct fixture *f)
{
    fixture_stop(f);
    (void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void fixture_teardown(struct fixture *f)
{
    char text[160];
    fixture_remove(f);
    if (fake_places_lent() != 0) {
        (void)snprintf(text, sizeof text, "%d places were not given back", fake_places_lent());
        fail(text);
    }
    if (fake_early_count() != 0) {
        (void)snprintf(text, sizeof text, "%d processes wait for an image that does not come",
                       fake_early_count());
        fail(text);
    }
    unsigned now = open_fds();
    if (now != f->fds) {
        (void)snprintf(text, sizeof text, "%u descriptors were open before, %u are now", f->fds, now);
        fail(text);
    }
}

int fixture_test_setup(void **state)
{
    struct fixture *f = malloc(sizeof *f);
    if (!f)
        return -1;
    fixture_setup(f);
    *state = f;
    return 0;
}

int fixture_test_teardown(void **state)
{
    fixture_teardown(*state);
    free(*state);
    return 0;
}

/* Waits on the volume's own condition, so that nothing is polled. */
static void settle_one(struct volume *v)
{
    struct timespec until = clock_spec(clock_in_ms(BUDGET_MS));
    LOCK_SCOPE(&v->lock);
    while (v->busy)
        if (pthread_cond_timedwait(&v->changed, &v->lock, &until) != 0)
            fail("a volume stays busy");
}

void fixture_settle(struct fixture *f)
{
    size_t n;
    struct volumes *e = f->engine;
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        settle_one(all[i]);
        registry_release(&e->registry, all[i]);
    }
    free(all);
    struct timespec until = clock_spec(clock_in_ms(BUDGET_MS));
    LOCK_SCOPE(&e->lock);
    while (e->driving > 0)
        if (pthread_cond_timedwait(&e->changed, &e->lock, &until) != 0)
            fail("a thread does not end");
}

void fixture_wait_purged(struct fixture *f)
{
    struct volumes *e = f->engine;
    for (bool purging = true; purging; clock_pause_ms(1)) {
        LOCK_SCOPE(&e->lock);
        purging = e->purging > 0;
    }
}

struct volume *fixture_volume(struct fixture *f, const char *image)
{
    struct image_name name = { .pool = "rbd" };
    (void)snprintf(name.image, sizeof name.image, "%s", image);
    return registry_find(&f->engine->registry, &name);
}

bool fixture_forgotten(struct fixture *f, const char *image)
{
    moment deadline = clock_in_ms(FORGET_MS);
    for (;;) {
        struct volume *v = fixture_volume(f, image);
        if (!v)
            return true;
        registry_release(&f->engine->registry, v);
        if (clock_left_ms(deadline) == 0)
            return false;
        (void)usleep(1000);
    }
}

static bool is_so(struct volume *v, bool (*is)(const struct volume *v, unsigned n), unsigned n)
{
    struct timespec slice = clock_spec(clock_in_ms(2));
    LOCK_SCOPE(&v->lock);
    if (is(v, n))
        return true;
    (void)pthread_cond_timedwait(&v->changed, &v->lock, &slice);
    return is(v, n);
}

void fixture_wait(struct fixture *f, const char *image, bool (*is)(const struct volume *v, unsigned n),
                  unsigned n)
{
    moment deadline = clock_in_ms(BUDGET_MS);
    for (bool done = false; !done;) {
        struct volume *v = fixture_volume(f, image);
        if (!v)
            return;
        done = is_so(v, is, n);
        registry_release(&f->engine->registry, v);
        if (!done && clock_left_ms(deadline) == 0)
            fail("a volume does not get to where it should");
    }
}

static bool has_holders(const struct volume *v, unsigned n)
{
    return v->holders.n == n;
}

void fixture_wait_holders(struct fixture *f, const char *image, unsigned n)
{
    fixture_wait(f, image, has_holders, n);
}

void fixture_retry_now(struct fixture *f, const char *image)
{
    struct volume *v = fixture_volume(f, image);
    if (!v)
        return;
    pthread_mutex_lock(&v->lock);
    if (v->retry_at)
        v->retry_at = 1;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
}

enum rung fixture_rung(struct fixture *f, const char *image)
{
    struct volume *v = fixture_volume(f, image);
    if (!v)
        return RUNG_DETACHED;
    pthread_mutex_lock(&v->lock);
    enum rung rung = v->rung;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    return rung;
}

size_t fixture_holders(struct fixture *f, const char *image)
{
    struct volume *v = fixture_volume(f, image);
    if (!v)
        return 0;
    pthread_mutex_lock(&v->lock);
    size_t n = v->holders.n;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    return n;
}

int fixture_mount(struct fixture *f, const char *name, const char *id, struct error *err)
{
    char mountpoint[PATH_MAX];
    struct grant *grant = NULL;
    const struct caller caller = { 0 };
    int rc = mount_volume(f->engine, name, id, &caller, clock_in_ms(BUDGET_MS), mountpoint, &grant, err);
    if (rc == 0)
        mount_sent(f->engine, grant, true);
    return rc;
}

int fixture_unmount(struct fixture *f, const char *name, const char *id, struct error *err)
{
    return unmount_volume(f->engine, name, id, clock_in_ms(BUDGET_MS), err);
}

const char *fixture_mountpoint(struct fixture *f, const char *image)
{
    static _Thread_local char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/rbd/%s", f->settings.mount_root, image);
    return path;
}

void fixture_expect_down(struct fixture *f, const char *image)
{
    fixture_settle(f);
    if (fixture_rung(f, image) != RUNG_DETACHED)
        fail("it is not detached");
    if (fixture_holders(f, image) != 0)
        fail("somebody holds it");
    if (fake_mounted(fixture_mountpoint(f, image)))
        fail("it is mounted");
    if (!fixture_forgotten(f, image))
        fail("the engine does not forget it");
}

void fixture_expect_trace(const char *expected)
{
    auto_free char *trace = fake_trace();
    fake_trace_clear();
    if (strcmp(trace, expected) == 0)
        return;
    (void)fprintf(stderr, "expected: %s\ngot:      %s\n", expected, trace);
    fail("another trace");
}

static void *run(void *arg)
{
    struct parallel *p = arg;
    p->rc = p->unmount ? fixture_unmount(p->fixture, p->name, p->id, &p->err)
                       : fixture_mount(p->fixture, p->name, p->id, &p->err);
    return NULL;
}

void fixture_begin(struct parallel *p, struct fixture *f, bool unmount, const char *name, const char *id)
{
    *p = (struct parallel){ .fixture = f, .name = name, .id = id, .unmount = unmount };
    if (pthread_create(&p->thread, NULL, run, p) != 0)
        fail("no thread");
}

int fixture_end(struct parallel *p)
{
    pthread_join(p->thread, NULL);
    return p->rc;
}
