/* SPDX-License-Identifier: MIT */
/* Clones: what is made for one and not needed any more goes, whatever fails. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/pending.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/collector.h"
#include "volume/create.h"

#define ID    "0123456789abcdef"
#define STEPS 40
#define HOUR  3600

static int make_clone(struct fixture *f, const char *opts, struct error *err)
{
    json_auto_t *j = json_loads(opts, 0, NULL);
    assert_non_null(j);
    *err = (struct error){ 0 };
    fake_trace_clear();
    return create_volume(f->engine, "copy", j, clock_in_ms(10000), err);
}

static void refuses(struct fixture *f, const char *opts, int code, const char *words)
{
    struct error err;
    int rc = make_clone(f, opts, &err);
    if (rc != code || !strstr(err.msg, words))
        fail_msg("%s: %d %s", opts, rc, err.msg);
    assert_null(fake_image_find("rbd", "copy"));
}

static void a_clone_of_what_is_mounted_here(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_int_equal(make_clone(f, "{\"from\":\"db\",\"size\":\"2G\"}", &err), 0);
    fixture_expect_trace("device_start, freeze, snap db@rbdvol.new.*, thaw, device_end, create rbdvol.new.*, "
                         "fill_open rbdvol.new.*, set rbdvol.new.* rbdvol.making, grow_image rbdvol.new.*, "
                         "set rbdvol.new.* rbdvol.spec, rename rbdvol.new.* copy, fill_close, "
                         "unset copy rbdvol.making, unsnap db@rbdvol.new.*");
    assert_string_equal(i->snaps[0], "");
    assert_true(fake_pending_count() == 0);
    const struct fake_image *copy = fake_image_find("rbd", "copy");
    assert_true(copy->size == 2ULL << 30);
    assert_non_null(strstr(copy->spec, "\"from\":\"rbd/db\""));
    assert_non_null(strstr(copy->spec, "\"new-uuid\":true"));
    fixture_unmount(f, "db", ID, &err);
}

/* Of a snapshot, which is whole, the image not. */
static void a_clone_has_nothing_to_roll_back(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "mon");
    i->snapshots = true;
    fake_image_set(&i->rolling, "mon");
    assert_int_equal(make_clone(f, "{\"from\":\"db@mon\"}", &err), 0);
    assert_null(fake_image_find("rbd", "copy")->rolling);
    assert_int_equal(fixture_mount(f, "copy", ID, &err), 0);
    assert_int_equal(fixture_unmount(f, "copy", ID, &err), 0);
}

static void what_a_clone_that_fails_leaves_is_collected(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = fake_volume_add(NULL, "db");
    unsigned n;
    for (n = 1; n < STEPS; n++) {
        struct error err;
        fake_fail_nth(n, -EIO, false);
        int rc = make_clone(f, "{\"from\":\"db\"}", &err);
        bool failed = fake_nth_failed();
        fake_fail_nth(0, 0, false);
        collector_run(f->engine); /* what is ours, and not under way, at once */
        if (i->snaps[0][0] || fake_pending_count())
            fail_msg("after a failure at %s (%d %s) '%s' is left", fake_failed_call(), rc, err.msg,
                     i->snaps[0]);
        if (!failed)
            break;
        if (rc == 0) { /* it was only the tidying up that failed */
            assert_non_null(fake_image_find("rbd", "copy"));
            fake_image_find("rbd", "copy")->used = false;
        }
    }
    assert_in_range(n, 8, STEPS - 1);
}

/* Another host may be at it still. */
static void what_others_began_is_collected_an_hour_later(void **state)
{
    struct fixture *f = *state;
    struct error err;
    auto_place struct place p = PLACE_NONE;
    char key[PENDING_KEY_MAX + 1];
    struct fake_image *i = fake_volume_add(NULL, "db");
    const struct image_name name = { .pool = "rbd", .image = "db" };
    assert_int_equal(engine_place(f->engine, &name, &p, &err), 0);
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "rbdvol.new.0123456789ab");
    (void)snprintf(key, sizeof key, "snap %s %s host9/m/rbd", i->id, i->snaps[0]);
    assert_int_equal(pending_add(&p, key, &err), 0);
    collector_run(f->engine);
    assert_true(i->snaps[0][0] && fake_pending_count() == 1);
    fake_pending_age(2 * HOUR);
    collector_run(f->engine);
    assert_true(!i->snaps[0][0] && fake_pending_count() == 0);
}

static void what_makes_no_sense_is_refused(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_volume_add(NULL, "db");
    refuses(f, "{\"from\":\"absent\"}", -ENODEV, "there is no image 'rbd/absent'");
    refuses(f, "{\"from\":\"db@never\"}", -ENODEV, "no snapshot 'never'");
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "mon");
    refuses(f, "{\"from\":\"db@mon\",\"size\":\"512M\"}", -EINVAL, "cannot have 512 MiB");
    refuses(f, "{\"from\":\"db@mon\",\"features\":\"exclusive-lock\"}", -EINVAL, "needs layering");
}

/* The source's mapper is nobody's wish for the clone. */
static void a_clone_is_not_mapped_by_what_cannot_do_it(void **state)
{
    struct fixture *f = *state;
    struct error err;
    static const struct {
        const char *spec, *opts, *stays; /* NULL: no mapper is written down */
    } cases[] = {
        { "\"mapper\":\"krbd\"", "{\"from\":\"db@mon\",\"ro\":\"true\"}", NULL },
        { "\"mapper\":\"nbd\"", "{\"from\":\"db@mon\",\"ro\":\"true\"}", NULL },
        { "\"mapper\":\"krbd\"", "{\"from\":\"db@mon\",\"qos-iops\":\"100\"}", NULL },
        { "\"mapper\":\"krbd\"", "{\"from\":\"db@mon\",\"qos-bps\":\"1M\"}", NULL },
        { "\"mapper\":\"nbd\"", "{\"from\":\"db@mon\",\"qos-iops\":\"100\"}", "\"mapper\":\"nbd\"" },
        { "\"mapper\":\"krbd\"", "{\"from\":\"db@mon\"}", "\"mapper\":\"krbd\"" },
        { "\"mapper\":\"fuse\"", "{\"from\":\"db@mon\",\"ro\":\"true\"}", "\"mapper\":\"fuse\"" },
    };
    struct fake_image *i = fake_volume_add(NULL, "db");
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "mon");
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        char spec[100];
        (void)snprintf(spec, sizeof spec, "{\"version\":1,\"fstype\":\"xfs\",%s}", cases[n].spec);
        fake_image_set(&i->spec, spec);
        if (make_clone(f, cases[n].opts, &err) < 0)
            fail_msg("%s %s: %s", cases[n].spec, cases[n].opts, err.msg);
        struct fake_image *copy = fake_image_find("rbd", "copy");
        if (!strstr(copy->spec, cases[n].stays ? cases[n].stays : "") ||
            (!cases[n].stays && strstr(copy->spec, "mapper")))
            fail_msg("%s %s: %s", cases[n].spec, cases[n].opts, copy->spec);
        copy->used = false;
    }
    /* asked for by name it is refused now, not at each Mount */
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"xfs\",\"qos-iops\":100}");
    refuses(f, "{\"from\":\"db@mon\",\"mapper\":\"krbd\"}", -EINVAL, "krbd cannot limit I/O");
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"xfs\",\"encrypt\":\"key\"}");
    refuses(f, "{\"from\":\"db@mon\",\"mapper\":\"nbd\"}", -EINVAL, "mapped by fuse alone, not by nbd");
}

static void a_clone_is_not_larger_than_a_volume_may_be(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db"); /* of 1 GiB */
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "mon");
    f->settings.max_size = (1ULL << 30) - 1;
    refuses(f, "{\"from\":\"db@mon\"}", -EINVAL, "1 GiB is more than max-size");
    refuses(f, "{\"from\":\"db\"}", -EINVAL, "1 GiB is more than max-size");
    assert_int_equal(fake_pending_count(), 0);
    assert_string_equal(i->snaps[1], "");
    f->settings.max_size = 1ULL << 30;
    refuses(f, "{\"from\":\"db@mon\",\"size\":\"2G\"}", -EINVAL, "2 GiB is more than max-size 1 GiB");
    assert_int_equal(make_clone(f, "{\"from\":\"db@mon\"}", &err), 0);
}

static void a_snapshot_is_mounted_without_a_lock(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "mon");
    assert_int_equal(make_clone(f, "{\"from\":\"db@mon\",\"ro\":\"true\"}", &err), 0);
    fake_trace_clear();
    assert_int_equal(fixture_mount(f, "copy", ID, &err), 0);
    auto_free char *trace = fake_trace();
    assert_non_null(strstr(trace, "lock copy rbdvol.ctl"));
    assert_null(strstr(trace, "lock copy rbdvol,")); /* no owner record */
    assert_null(strstr(trace, "grow"));
    assert_null(strstr(trace, "renew"));
    assert_non_null(strstr(trace, ",ro,norecovery,nouuid"));
    fixture_unmount(f, "copy", ID, &err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_clone_has_nothing_to_roll_back),
        TEST(a_clone_of_what_is_mounted_here),
        TEST(what_a_clone_that_fails_leaves_is_collected),
        TEST(what_others_began_is_collected_an_hour_later),
        TEST(what_makes_no_sense_is_refused),
        TEST(a_clone_is_not_mapped_by_what_cannot_do_it),
        TEST(a_clone_is_not_larger_than_a_volume_may_be),
        TEST(a_snapshot_is_mounted_without_a_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
