/* SPDX-License-Identifier: MIT */
/* Each step up and down, and what is left when one fails. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"

#define ID    "0123456789abcdef"
#define STEPS 64 /* more calls than a climb or a descent makes */

#define UP_OF_DB                                                                                             \
    "lock db rbdvol.ctl, map db, device_start, lock db rbdvol, unlock db rbdvol.ctl, attach first 4096, "    \
    "mount db xfs noatime,nodev,nosuid, device_end"
#define DOWN_OF_DB "device_start, umount db, device_end, unmap db, break db rbdvol"

static void expect_nothing_here(struct fixture *f, const char *image)
{
    struct fake_image *i = fake_image_find("rbd", image);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, image), RUNG_DETACHED);
    assert_int_equal(fixture_holders(f, image), 0);
    assert_true(fixture_forgotten(f, image)); /* forgotten */
    assert_int_equal(fake_mount_count(), 0);
    assert_int_equal(fake_mapping_count(), 0);
    assert_int_equal(fake_early_count(), 0);
    assert_int_equal(fake_device_count(), 0);
    assert_int_equal(fake_places_lent(), 0);
    if (i) {
        assert_null(fake_image_lock(i, "rbd_lock"));
        assert_null(fake_image_lock(i, "rbdvol"));
        assert_null(fake_image_lock(i, "rbdvol.ctl"));
    }
}

static void expect_mounted(struct fixture *f, const char *image)
{
    struct fake_image *i = fake_image_find("rbd", image);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, image), RUNG_MOUNTED);
    assert_true(fake_mounted(fixture_mountpoint(f, image)));
    assert_int_equal(fake_mapping_count(), 1);
    assert_int_equal(fake_early_count(), 0);
    assert_int_equal(fake_device_count(), 0);
    assert_non_null(fake_image_lock(i, "rbd_lock"));
    assert_non_null(fake_image_lock(i, "rbdvol"));
    assert_null(fake_image_lock(i, "rbdvol.ctl"));
}

static void a_mount_climbs_and_an_unmount_descends(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    expect_mounted(f, "db");
    fixture_expect_trace(UP_OF_DB);
    assert_int_equal(fixture_unmount(f, "rbd/db", ID, &err), 0);
    expect_nothing_here(f, "db");
    fixture_expect_trace(DOWN_OF_DB);
}

static void the_first_mount_freshens_once(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->spec,
                   "{\"version\":1,\"fstype\":\"xfs\",\"uid\":70,\"gid\":71,\"mode\":448,\"fresh\":true,"
                   "\"later\":[1]}");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fixture_settle(f);
    fixture_expect_trace(
        "lock db rbdvol.ctl, map db, device_start, lock db rbdvol, unlock db rbdvol.ctl, attach first 4096, "
        "mount db xfs nodev,nosuid, fresh 70:71 700, set db rbdvol.spec, device_end");
    assert_non_null(strstr(i->spec, "\"fresh\":false"));
    assert_non_null(strstr(i->spec, "\"later\":[1]"));
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    fixture_expect_trace(DOWN_OF_DB);
}

static void freshness_that_fails_is_tried_by_the_next_mount(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"xfs\",\"fresh\":true}");
    fake_fail("image_set_meta", -ETIMEDOUT, 1);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -ETIMEDOUT);
    expect_nothing_here(f, "db");
    assert_non_null(strstr(i->spec, "\"fresh\":true"));
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_non_null(strstr(i->spec, "\"fresh\":false"));
}

/* Adds what the climb changes to a list, the way back in the same order as the climb. */
struct pair {
    const char *up, *down;
};
static const struct pair pairs[] = {
    { "lock db rbdvol.ctl", NULL }, /* goes in the middle of the climb, or at the end of the descent */
    { "map db", "unmap db" },
    { "lock db rbdvol,", "break db rbdvol" },
    { "attach first 4096", "device_end" },
    { "mount db", "umount db" },
};

/* What was done must be undone, last first. The record goes when the mapping is gone: others look at it until
 * then. */
static void expect_undone(const char *trace, const char *failed)
{
    const char *done = strstr(trace, "umount db");
    const char *unmap = strstr(trace, "unmap db"), *released = strstr(trace, "break db rbdvol");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *up = strstr(trace, pairs[i].up),
                   *down = pairs[i].down ? strstr(trace, pairs[i].down) : NULL;
        if (up && pairs[i].down && !down)
            fail_msg("after a failure at %s '%s' was not undone: %s", failed, pairs[i].up, trace);
        if (up && down && down < up)
            fail_msg("after a failure at %s '%s' came before '%s': %s", failed, pairs[i].down, pairs[i].up,
                     trace);
    }
    if (done && unmap < done)
        fail_msg("after a failure at %s it was unmapped while mounted: %s", failed, trace);
    if (released && released < unmap)
        fail_msg("after a failure at %s it was released while mapped: %s", failed, trace);
}

static void a_climb_that_fails_anywhere_undoes_all_it_did(void **state)
{
    static const char fresh[] = "{\"version\":1,\"fstype\":\"ext4\",\"fresh\":true}";
    struct fixture *f = *state;
    unsigned n;
    fake_image_set(&fake_volume_add(NULL, "db")->spec, fresh);
    (void)snprintf(fake_image_find("rbd", "db")->content.type, 32, "ext4");
    for (n = 1; n < STEPS; n++) {
        struct error err = { 0 };
        fake_trace_clear();
        fake_fail_nth(n, -EIO, false);
        int rc = fixture_mount(f, "db", ID, &err);
        fixture_settle(f);
        if (!fake_nth_failed())
            break;
        if (strncmp(fake_failed_call(), "grow", 4) == 0) { /* which is no reason not to use it */
            assert_int_equal(rc, 0);
            assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
            fake_image_set(&fake_image_find("rbd", "db")->spec, fresh);
            continue;
        }
        if (rc != -EIO || !strstr(err.msg, "rbd/db"))
            fail_msg("failure at %s: %d %s", fake_failed_call(), rc, err.msg);
        auto_free char *trace = fake_trace();
        expect_undone(trace, fake_failed_call());
        expect_nothing_here(f, "db");
    }
    fake_mend();
    assert_in_range(n, 15, STEPS - 1);
    expect_mounted(f, "db");
}

static bool is_detached(const struct volume *v, unsigned unused)
{
    (void)unused;
    return v->rung == RUNG_DETACHED && !v->busy;
}

static void a_climb_whose_undoing_fails_keeps_the_lock_and_is_undone_later(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_fail("mount", -EIO, 1);
    fake_fail("unmap", -ETIMEDOUT, FAKE_FOREVER);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EIO);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MAPPED);
    assert_int_equal(fixture_holders(f, "db"), 0);
    assert_non_null(fake_image_lock(i, "rbd_lock"));
    assert_non_null(fake_image_lock(i, "rbdvol"));
    fake_fail("unmap", 0, 0);
    fixture_retry_now(f, "db");
    fixture_wait(f, "db", is_detached, 0);
    expect_nothing_here(f, "db");
}

static void a_mount_after_an_undoing_that_failed_goes_on_from_there(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_fail("mount", -EIO, 1);
    fake_fail("unmap", -EBUSY, 2); /* the second is tried when the caller goes */
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EIO);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MAPPED);
    fake_trace_clear();
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    expect_mounted(f, "db");
    fixture_expect_trace("device_start, attach 4096, mount db xfs noatime,nodev,nosuid, device_end");
}

static void a_descent_that_fails_anywhere_stays_on_its_rung_and_ends_with_a_retry(void **state)
{
    struct fixture *f = *state;
    unsigned n;
    fake_volume_add(NULL, "db");
    for (n = 1; n < STEPS; n++) {
        struct error err = { 0 };
        assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
        fixture_settle(f);
        fake_fail_nth(n, -ETIMEDOUT, true); /* and so does all that follows */
        int rc = fixture_unmount(f, "db", ID, &err);
        fixture_settle(f);
        bool failed = fake_nth_failed();
        assert_int_equal(fixture_holders(f, "db"), 0);
        if (failed && strstr(fake_failed_call(), "await-end")) { /* it is over all the same */
            assert_int_equal(rc, 0);
            fake_mend();
            expect_nothing_here(f, "db");
            continue;
        }
        if (failed && (rc != -ETIMEDOUT || !strstr(err.msg, "rbd/db")))
            fail_msg("failure at %s: %d %s", fake_failed_call(), rc, err.msg);
        if (failed && fixture_rung(f, "db") == RUNG_DETACHED)
            fail_msg("failure at %s, and all the same it is down", fake_failed_call());
        fake_mend();
        if (failed) /* an Unmount that comes again goes on, too */
            assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
        expect_nothing_here(f, "db");
        if (!failed)
            break;
    }
    assert_in_range(n, 5, STEPS - 1);
}

/* The record goes while the mapper's process ends, and the answer comes when that has ended. */
static void an_unmount_is_over_when_the_mapper_has_ended(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fake_hold("await-end");
    fixture_begin(&p, f, true, "db", ID);
    fake_wait_held("await-end", 1);
    assert_null(fake_image_lock(i, "rbdvol"));
    assert_int_equal(fixture_rung(f, "db"), RUNG_CLAIMED);
    fake_go("await-end");
    assert_int_equal(fixture_end(&p), 0);
    expect_nothing_here(f, "db");
    assert_int_equal(fake_count("await-end"), 1);
}

static void an_unmap_whose_last_writes_failed_leaves_the_lock_to_be_fenced(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fake_fail("unmap", -EIO, 1);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_DETACHED);
    assert_non_null(fake_image_lock(i, "rbd_lock"));
    char address[80];
    memcpy(address, fake_image_lock(i, "rbd_lock")->holder.address, sizeof address);
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0); /* what is left is our own, and dead */
    assert_true(fake_is_fenced(address));
}

/* Only unmap() tells that a mapping has ended without releasing. */
static void a_mapping_that_cannot_be_looked_at_is_still_there(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fake_fail("wait_closed", -EIO, 1);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), -EIO);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MAPPED);
    assert_int_equal(fake_mapping_count(), 1);
    fixture_retry_now(f, "db");
    fake_wait_count("unmap", 1);
    fixture_settle(f);
    assert_true(fixture_forgotten(f, "db"));
    assert_int_equal(fake_mapping_count(), 0);
    assert_null(fake_image_lock(i, "rbd_lock"));
}

static void an_image_in_use_elsewhere_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", "192.0.2.9:0/77");
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/192.0.2.9:0/77", "", "192.0.2.9:0/76");
    fake_image_watch(i, "192.0.2.9:0/77", true);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "in use on host host9"));
    assert_null(strstr(err.msg, "lapsed"));
    fixture_expect_trace("");
    /* a record that is not the owner's says nothing */
    fake_image_lock(i, "rbdvol")->held = false;
    fake_image_lock_set(i, "rbdvol", "host8/m/b/rbd/abc/192.0.2.8:0/1", "", "192.0.2.8:0/1");
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "which is no rbdvol"));
    /* a lock by hand */
    fake_image_lock(i, "rbd_lock")->held = false;
    fake_image_lock_set(i, "rbd_lock", "by hand", "", "192.0.2.9:0/78");
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "advisory lock 'by hand'"));
    fixture_expect_trace("");
}

static void an_owner_that_comes_between_our_looks_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct parallel p;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_hold("lock rbdvol.ctl"); /* it has looked once */
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_held("lock rbdvol.ctl", 1);
    fake_lock();
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", "192.0.2.9:0/77");
    fake_image_watch(i, "192.0.2.9:0/77", true);
    fake_unlock();
    fake_go("lock rbdvol.ctl");
    assert_int_equal(fixture_end(&p), -EBUSY);
    fixture_settle(f);
    fixture_expect_trace("lock db rbdvol.ctl, unlock db rbdvol.ctl");
    (void)err;
}

static void an_image_that_is_replaced_before_the_lock_is_not_mounted(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_hold("map");
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_held("map", 1);
    fake_hold("image_find");
    fake_go("map");
    fake_wait_held("image_find", 1);
    fake_lock(); /* another host has renamed it, once it was mapped */
    (void)snprintf(i->listed, sizeof i->listed, "old");
    (void)snprintf(i->objects[0], sizeof i->objects[0], "old");
    fake_unlock();
    fake_go("image_find");
    assert_int_equal(fixture_end(&p), -ENOENT);
    fixture_settle(f);
    fixture_expect_trace("lock db rbdvol.ctl, map db, device_start, lock old rbdvol, unlock old rbdvol.ctl, "
                         "device_end, unmap db, break old rbdvol");
    assert_int_equal(fake_mapping_count(), 0);
    assert_int_equal(fake_mount_count(), 0);
}

static void the_process_starts_while_the_image_is_claimed(void **state)
{
    struct parallel p;
    struct fake_asked asked;
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    fake_hold("image_find");
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_held("image_find", 1);
    assert_int_equal(fake_early_count(), 1);
    fake_go("image_find");
    assert_int_equal(fixture_end(&p), 0);
    fixture_settle(f);
    fake_mapper_asked(&asked);
    assert_true(asked.early);
    expect_mounted(f, "db");
}

static void an_image_that_is_not_free_leaves_no_process(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_fail("image_find", -ETIMEDOUT, 1);
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), -ETIMEDOUT);
    fixture_settle(f);
    assert_int_equal(fake_early_count(), 0);
}

static void an_image_without_the_lock_s_feature_is_given_it(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    i->features = 1;
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_int_equal(i->features, 5);
}

static void images_that_would_not_be_safe_are_refused(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->danger, "conf_rbd_cache");
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "conf_rbd_cache"));
    fake_image_set(&i->danger, NULL);
    i->features = 1;
    f->settings.legacy_images = LEGACY_REFUSE;
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "exclusive-lock"));
    f->settings.legacy_images = LEGACY_UPGRADE;
    fake_image_watch(i, "192.0.2.9:0/5", true); /* nobody knows whether it writes */
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "has it open, at 192.0.2.9:0/5"));
    fake_image_watch(i, "192.0.2.9:0/5", false);
    assert_int_equal(i->features, 1);
    fake_trace_clear();
    i->features = 61;
    fake_image_set(&i->spec, "{\"version\":2}");
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EPROTONOSUPPORT);
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"xfs\",\"mount-options\":\"logdev=/dev/sda\"}");
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EINVAL);
    fixture_expect_trace(
        "lock db rbdvol.ctl, unlock db rbdvol.ctl, lock db rbdvol.ctl, unlock db rbdvol.ctl");
    expect_nothing_here(f, "db");
}

/* ---- images made by others ---- */

static void refuses(struct fixture *f, const char *image, int code, const char *words)
{
    struct error err = { 0 };
    fake_trace_clear();
    int rc = fixture_mount(f, image, ID, &err);
    if (rc != code || !strstr(err.msg, words))
        fail_msg("%s: %d %s", image, rc, err.msg);
    auto_free char *trace = fake_trace();
    if (strstr(trace, "format") || strstr(trace, "rbdvol.spec") || strstr(trace, "attach"))
        fail_msg("%s: %s", image, trace);
    expect_nothing_here(f, image);
}

static void an_image_made_by_others_is_never_formatted_on_a_guess(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_image_add(NULL, "db");
    i->content = (struct device_probe){ .found = PROBE_OTHER, .type = "crypto_LUKS" };
    refuses(f, "db", -EINVAL, "holds crypto_LUKS");
    i->content = (struct device_probe){ .found = PROBE_AMBIGUOUS };
    refuses(f, "db", -EINVAL, "more than one kind");
    i->content = (struct device_probe){ .found = PROBE_EMPTY };
    i->written = 1;
    refuses(f, "db", -ENOTEMPTY, "not blank");
    i->written = 0;
    i->snapshots = true;
    refuses(f, "db", -ENOTEMPTY, "not blank");
    i->snapshots = false;
    fake_fail("image_check_blank", -ETIMEDOUT, 1);
    refuses(f, "db", -ETIMEDOUT, "injected");
    f->settings.create = false;
    refuses(f, "db", -EINVAL, "create = no");
    f->settings.create = true;
    i->size = 10 << 20;
    refuses(f, "db", -EINVAL, "too small for xfs");
    i->size = 1 << 30;
    /* ours, and its file system is gone, or another one */
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"xfs\"}");
    refuses(f, "db", -EUCLEAN, "no file system is found");
    i->content = (struct device_probe){ .found = PROBE_FS, .type = "ext4", .block_size = 4096 };
    refuses(f, "db", -EINVAL, "ext4 is on it now");
}

static void a_blank_image_is_formatted_and_remembered(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_image_add(NULL, "db");
    i->content = (struct device_probe){ .found = PROBE_EMPTY };
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fixture_settle(f);
    fixture_expect_trace("lock db rbdvol.ctl, map db, device_start, lock db rbdvol, unlock db rbdvol.ctl, "
                         "set db rbdvol.spec, format xfs, set db rbdvol.spec, attach first 4096, "
                         "mount db xfs noatime,nodev,nosuid, fresh 0:0 755, set db rbdvol.spec, device_end");
    assert_non_null(strstr(i->spec, "\"fresh\":false"));
    assert_null(strstr(i->spec, "formatting"));
}

static void a_format_that_was_cut_off_is_known_for_our_own(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_image_add(NULL, "db");
    i->content = (struct device_probe){ .found = PROBE_EMPTY };
    fake_fail("format", -EIO, 1);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EIO);
    assert_non_null(strstr(i->spec, "\"formatting\":true"));
    expect_nothing_here(f, "db");
    i->written = 4096; /* half a file system, still nothing that libblkid knows */
    fake_fail_late("format", -ETIMEDOUT);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -ETIMEDOUT);
    assert_non_null(strstr(i->spec, "\"formatting\":true"));
    /* the superblock, written last, is there now */
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_int_equal(fake_count("format"), 2);
    assert_int_equal(fake_count("fresh"), 1);
    assert_null(strstr(i->spec, "formatting"));
}

static void a_file_system_made_by_others_is_adopted_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct error err;
    static char words[] = "noatime,nodev,nosuid,allocsize=64m";
    f->settings.mount_options = words; /* fit for xfs, not for what is there */
    struct fake_image *i = fake_image_add(NULL, "db");
    i->content = (struct device_probe){ .found = PROBE_FS, .type = "ext4", .block_size = 512 };
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fixture_settle(f);
    fixture_expect_trace(
        "lock db rbdvol.ctl, map db, device_start, lock db rbdvol, unlock db rbdvol.ctl, "
        "set db rbdvol.spec, attach first 512, mount db ext4 noatime,nodev,nosuid, device_end");
    assert_non_null(strstr(i->spec, "\"fstype\":\"ext4\""));
    assert_non_null(strstr(i->spec, "\"fresh\":false"));
}

static void a_host_without_a_mapper_says_why(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fixture_stop(f);
    fake_mapper_refuse("the fuse module is not there");
    fixture_teardown(f);
    fixture_init(f);
    fake_mapper_refuse("the fuse module is not there");
    fake_volume_add(NULL, "db");
    fixture_start(f);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -ENODEV);
    assert_non_null(strstr(err.msg, "the fuse module is not there"));
    fixture_expect_trace("");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_mount_climbs_and_an_unmount_descends),
        TEST(the_first_mount_freshens_once),
        TEST(freshness_that_fails_is_tried_by_the_next_mount),
        TEST(a_climb_that_fails_anywhere_undoes_all_it_did),
        TEST(a_climb_whose_undoing_fails_keeps_the_lock_and_is_undone_later),
        TEST(a_mount_after_an_undoing_that_failed_goes_on_from_there),
        TEST(a_descent_that_fails_anywhere_stays_on_its_rung_and_ends_with_a_retry),
        TEST(an_unmount_is_over_when_the_mapper_has_ended),
        TEST(an_unmap_whose_last_writes_failed_leaves_the_lock_to_be_fenced),
        TEST(a_mapping_that_cannot_be_looked_at_is_still_there),
        TEST(an_image_in_use_elsewhere_is_refused_by_name),
        TEST(an_owner_that_comes_between_our_looks_is_left_alone),
        TEST(an_image_that_is_replaced_before_the_lock_is_not_mounted),
        TEST(the_process_starts_while_the_image_is_claimed),
        TEST(an_image_that_is_not_free_leaves_no_process),
        TEST(an_image_without_the_lock_s_feature_is_given_it),
        TEST(images_that_would_not_be_safe_are_refused),
        TEST(an_image_made_by_others_is_never_formatted_on_a_guess),
        TEST(a_blank_image_is_formatted_and_remembered),
        TEST(a_format_that_was_cut_off_is_known_for_our_own),
        TEST(a_file_system_made_by_others_is_adopted_as_it_is),
        TEST(a_host_without_a_mapper_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
