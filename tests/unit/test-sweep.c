/* SPDX-License-Identifier: MIT */
/* Each operation, with a failure of each of its calls in turn: nothing stays behind, nobody is told that
 * there is no such volume, and the next try does it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "host/procs.h"
#include "volume/create.h"
#include "volume/query.h"
#include "volume/remove.h"
#include "volume/resize.h"
#include "volume/snap.h"
#include "volume/trash.h"
#include "volume/trim.h"
#include "volume/unlock.h"

#define ID    "0123456789abcdef"
#define OWNER "192.0.2.9:0/77"
#define STEPS 60
#define GIB   (1ULL << 30)

struct operation {
    void (*prepare)(struct fixture *f, struct fake_image *i); /* before each try; NULL: nothing */
    int (*run)(struct fixture *f, struct error *err);
    bool (*is_done)(struct fixture *f); /* after a success */
    unsigned least;                     /* so many calls it makes */
};

/* "db", there and as new. */
static struct fake_image *the_image(void)
{
    struct fake_image *i = fake_image_find("rbd", "db");
    return i ? i : fake_volume_add(NULL, "db");
}

static void expect_clean(struct fixture *f, const char *failed)
{
    fixture_settle(f);
    const struct fake_image *i = fake_image_find("rbd", "db");
    if (fake_device_count())
        fail_msg("after a failure at %s a helper is left", failed);
    if (i && fake_image_lock((struct fake_image *)i, "rbdvol.ctl"))
        fail_msg("after a failure at %s the control lock is left", failed);
}

static void sweep(struct fixture *f, const struct operation *o, int code)
{
    unsigned n;
    for (n = 1; n < STEPS; n++) {
        struct error err = { 0 };
        if (o->prepare)
            o->prepare(f, the_image());
        fixture_settle(f);
        fake_fail_nth(n, code, false);
        int rc = o->run(f, &err);
        bool failed = fake_nth_failed();
        fake_mend();
        if (strstr(err.msg, "the test found"))
            fail_msg("%s", err.msg);
        if (rc == -ENOENT)
            fail_msg("after a failure at %s: no such volume: %s", fake_failed_call(), err.msg);
        if (rc < 0 && !err.msg[0])
            fail_msg("after a failure at %s nothing is said", fake_failed_call());
        expect_clean(f, fake_failed_call());
        if (rc == 0 && !o->is_done(f))
            fail_msg("after a failure at %s it is said to be done, and is not", fake_failed_call());
        if (rc < 0 && !failed)
            fail_msg("it does not work at all: %s", err.msg);
        if (!failed)
            break;
    }
    assert_in_range(n, o->least, STEPS - 1);
}

/* ---- at rest ---- */

static void small(struct fixture *f, struct fake_image *i)
{
    (void)f;
    i->size = GIB;
}

static int resize(struct fixture *f, struct error *err)
{
    json_auto_t *told = NULL;
    return resize_volume(f->engine, "db", "2G", clock_in_ms(10000), &told, err);
}

static bool is_large(struct fixture *f)
{
    (void)f;
    return the_image()->size == 2 * GIB;
}

static void with_snapshot(struct fixture *f, struct fake_image *i)
{
    (void)f;
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "mon");
}

static int unsnap(struct fixture *f, struct error *err)
{
    json_auto_t *told = NULL;
    return snap_remove(f->engine, "db", "mon", clock_in_ms(10000), &told, err);
}

static bool has_no_snapshot(struct fixture *f)
{
    (void)f;
    return !the_image()->snaps[0][0];
}

static int roll_back(struct fixture *f, struct error *err)
{
    json_auto_t *told = NULL;
    return snap_rollback(f->engine, "db", "mon", clock_in_ms(10000), &told, err);
}

static bool is_whole(struct fixture *f)
{
    (void)f;
    return !the_image()->rolling;
}

static void what_is_done_to_a_volume_at_rest(void **state)
{
    struct fixture *f = *state;
    const struct operation all[] = { { small, resize, is_large, 6 },
                                     { with_snapshot, unsnap, has_no_snapshot, 6 },
                                     { with_snapshot, roll_back, is_whole, 8 } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sweep(f, &all[i], -EIO);
        sweep(f, &all[i], -EPERM);
    }
}

/* ---- mounted ---- */

static int trim(struct fixture *f, struct error *err)
{
    json_auto_t *told = NULL;
    return trim_volume(f->engine, "db", "", clock_in_ms(10000), &told, err);
}

static bool is_mounted(struct fixture *f)
{
    return fake_mounted(fixture_mountpoint(f, "db"));
}

static void what_is_done_to_a_mounted_volume(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct operation all[] = { { small, resize, is_large, 4 },
                                     { with_snapshot, unsnap, has_no_snapshot, 4 },
                                     { NULL, trim, is_mounted, 4 } };
    the_image();
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sweep(f, &all[i], -EIO);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
}

/* ---- mounts ---- */

static int mount_and_unmount(struct fixture *f, struct error *err)
{
    int rc = fixture_mount(f, "db", ID, err);
    if (rc < 0)
        return rc;
    fake_mend(); /* what is looked at is the way up */
    return fixture_unmount(f, "db", ID, err);
}

static bool is_gone(struct fixture *f)
{
    fixture_settle(f);
    return fake_mount_count() + fake_mapping_count() == 0 && fixture_rung(f, "db") == RUNG_DETACHED;
}

static void of_old(struct fixture *f, struct fake_image *i)
{
    (void)f;
    i->features &= ~IMAGE_FEATURE_EXCLUSIVE_LOCK;
}

static void blank(struct fixture *f, struct fake_image *i)
{
    (void)f;
    i->content = (struct device_probe){ .found = PROBE_EMPTY };
    i->written = 0;
    fake_image_set(&i->spec, NULL);
}

static void made_by_others(struct fixture *f, struct fake_image *i)
{
    (void)f;
    fake_image_set(&i->spec, NULL);
}

static void rolling(struct fixture *f, struct fake_image *i)
{
    with_snapshot(f, i);
    fake_image_set(&i->rolling, "mon");
}

static void snapshot(struct fixture *f, struct fake_image *i)
{
    (void)f;
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"xfs\",\"snapshot\":true,\"ro\":true}");
}

static void of_a_dead_host(struct fixture *f, struct fake_image *i)
{
    (void)f;
    for (size_t n = 0; n < FAKE_LOCKS_MAX; n++)
        i->locks[n].held = false;
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/" OWNER, "", "192.0.2.9:0/76");
}

static void the_way_up_of_each_kind_of_image(void **state)
{
    struct fixture *f = *state;
    void (*const kinds[])(struct fixture *, struct fake_image *) = {
        of_old, blank, made_by_others, rolling, snapshot, of_a_dead_host,
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct operation o = { kinds[i], mount_and_unmount, is_gone, 12 };
        fake_world_reset();
        sweep(f, &o, -EIO);
    }
}

static void the_way_up_by_the_kernel(void **state)
{
    struct fixture *f = *state;
    const struct operation o = { NULL, mount_and_unmount, is_gone, 12 };
    the_image();
    fake_mapper_kernel();
    sweep(f, &o, -EIO);
}

/* ---- removal, and back ---- */

static int take_away(struct fixture *f, struct error *err)
{
    return remove_volume(f->engine, "db", false, clock_in_ms(10000), err);
}

static bool has_no_name(struct fixture *f)
{
    (void)f;
    return !fake_image_find("rbd", "db");
}

static void empty_trash(struct fixture *f, struct fake_image *i)
{
    struct fake_image *one;
    (void)f;
    for (size_t n = 0; (one = fake_image_at(n)); n++)
        one->used = one == i;
    i->trashed = false;
}

static void removals_of_each_policy(void **state)
{
    static const enum remove_policy policies[] = { REMOVE_TRASH, REMOVE_DELETE, REMOVE_RENAME };
    struct fixture *f = *state;
    const struct operation o = { empty_trash, take_away, has_no_name, 7 };
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        f->settings.remove = policies[i];
        sweep(f, &o, -EIO);
        sweep(f, &o, -ETIMEDOUT);
    }
}

static void in_the_trash(struct fixture *f, struct fake_image *i)
{
    struct error err;
    empty_trash(f, i);
    assert_int_equal(take_away(f, &err), 0);
}

static int restore(struct fixture *f, struct error *err)
{
    json_auto_t *told = NULL;
    return trash_restore(f->engine, "rbd/db", "", &told, err);
}

static bool has_its_name(struct fixture *f)
{
    return !has_no_name(f);
}

static int purge(struct fixture *f, struct error *err)
{
    return trash_purge(f->engine, "db", clock_in_ms(10000), err);
}

static bool is_deleted(struct fixture *f)
{
    (void)f;
    return fake_image_count() + fake_trash_count() == 0;
}

static void what_is_in_the_trash(void **state)
{
    struct fixture *f = *state;
    const struct operation back = { in_the_trash, restore, has_its_name, 4 },
                           away = { in_the_trash, purge, is_deleted, 4 };
    sweep(f, &back, -EIO);
    sweep(f, &away, -EIO);
}

/* ---- locks ---- */

static int unlock(struct fixture *f, struct error *err)
{
    json_auto_t *told = NULL;
    return unlock_volume(f->engine, "db", true, true, clock_in_ms(10000), &told, err);
}

static bool is_free(struct fixture *f)
{
    (void)f;
    return fake_is_fenced(OWNER) && !fake_image_lock(the_image(), "rbd_lock");
}

static void a_lock_that_is_taken_away(void **state)
{
    struct fixture *f = *state;
    const struct operation o = { of_a_dead_host, unlock, is_free, 10 };
    sweep(f, &o, -EIO);
}

/* ---- Create, and looks ---- */

static int note_use(struct fixture *f, struct error *err)
{
    json_auto_t *j =
        json_loads("{\"mount-options\":\"discard\",\"qos-iops\":\"5\",\"qos-bps\":\"5M\"}", 0, NULL);
    return create_volume(f->engine, "db", j, clock_in_ms(10000), err);
}

static bool is_noted(struct fixture *f)
{
    const struct fake_image *i = the_image();
    (void)f;
    return i->spec && strstr(i->spec, "discard");
}

static int get(struct fixture *f, struct error *err)
{
    json_t *volume;
    int rc = query_get(f->engine, "db", &volume, err);
    if (rc == 0)
        json_decref(volume);
    return rc;
}

static int list(struct fixture *f, struct error *err)
{
    json_t *volumes;
    int rc = query_list(f->engine, &volumes, err);
    if (rc == 0)
        json_decref(volumes);
    return rc;
}

static bool always(struct fixture *f)
{
    (void)f;
    return true;
}

static void what_only_looks_and_what_notes_a_use(void **state)
{
    struct fixture *f = *state;
    const struct operation all[] = { { made_by_others, note_use, is_noted, 8 },
                                     { made_by_others, get, always, 3 },
                                     { NULL, list, always, 2 } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sweep(f, &all[i], -EIO);
}

/* ---- a process that is replaced ---- */

static bool is_replaced_or_lost(const struct volume *v, unsigned n)
{
    (void)n;
    return !v->busy && !v->orphaned && (v->lost || procs_alive(v->mapping.pid, v->mapping.pid_start));
}

/* true: the volume stayed mounted. */
static bool replace(struct fixture *f, unsigned n, int code)
{
    struct error err;
    fake_world_reset();
    struct fake_image *i = the_image();
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fixture_settle(f);
    fake_mapping_waits();
    i->deaf = true;
    fake_fail_nth(n, code, false);
    fake_mapping_kill("db");
    fixture_wait(f, "db", is_replaced_or_lost, 0);
    fake_mend();
    struct volume *v = fixture_volume(f, "db");
    pthread_mutex_lock(&v->lock);
    bool lost = v->lost;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    if (!lost && !is_mounted(f))
        fail_msg("after a failure at %s it is neither mounted nor lost", fake_failed_call());
    if (fake_image_lock(i, "rbdvol.ctl"))
        fail_msg("after a failure at %s the control lock is left", fake_failed_call());
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    fixture_settle(f);
    return !lost;
}

static void a_process_that_is_replaced_or_the_volume_is_lost(void **state)
{
    struct fixture *f = *state;
    unsigned n = 1, kept = 0;
    do {
        kept += replace(f, n, -EPERM); /* the cluster says no */
    } while (fake_nth_failed() && ++n < STEPS);
    assert_in_range(n, 10, STEPS - 1);
    assert_in_range(kept, 1, n / 2);
    assert_true(replace(f, 1, -EIO)); /* it does not answer: that is tried again */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_done_to_a_volume_at_rest),
        TEST(what_is_done_to_a_mounted_volume),
        TEST(the_way_up_of_each_kind_of_image),
        TEST(the_way_up_by_the_kernel),
        TEST(removals_of_each_policy),
        TEST(what_is_in_the_trash),
        TEST(a_lock_that_is_taken_away),
        TEST(what_only_looks_and_what_notes_a_use),
        TEST(a_process_that_is_replaced_or_the_volume_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
