/* SPDX-License-Identifier: MIT */
/* Before a volume is mapped, and while it is: whose the image is, and answers that do not come. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/create.h"
#include "volume/former.h"
#include "volume/ownership.h"
#include "volume/resize.h"

#define ID    "0123456789abcdef"
#define OWNER "192.0.2.9:0/77"

static void refuses(struct fixture *f, int code, const char *words)
{
    struct error err = { 0 };
    int rc = fixture_mount(f, "db", ID, &err);
    if (rc != code || !strstr(err.msg, words))
        fail_msg("%d %s", rc, err.msg);
    fixture_settle(f);
    assert_int_equal(fake_count("map"), 0);
    assert_int_equal(fake_mapping_count(), 0);
}

static void mounts(struct fixture *f)
{
    struct error err;
    if (fixture_mount(f, "db", ID, &err) < 0)
        fail_msg("%s", err.msg);
    fixture_settle(f);
}

static void unmounts(struct fixture *f)
{
    struct error err;
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

/* ---- images of old ---- */

static struct fake_image *of_old(const char *watcher)
{
    struct fake_image *i = fake_volume_add(NULL, "db");
    i->features &= ~IMAGE_FEATURE_EXCLUSIVE_LOCK;
    if (watcher)
        fake_image_watch(i, watcher, true);
    return i;
}

static void an_image_of_old_that_somebody_has_open_is_left_as_it_is(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = of_old(OWNER);
    refuses(f, -EBUSY, "has no exclusive-lock feature, and another client has it open, at " OWNER);
    assert_false(fake_is_fenced(OWNER));
    assert_false(i->features & IMAGE_FEATURE_EXCLUSIVE_LOCK);
}

static void what_an_earlier_daemon_has_open_is_fenced(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = of_old("192.0.2.1:0/8");
    former_add(f->engine, "192.0.2.1:0/8");
    former_add(f->engine, "192.0.2.1:0/9"); /* the present one */
    fake_fail("blocklist_add", -EPERM, 1);
    refuses(f, -EPERM, "cannot mount 'rbd/db'");
    assert_false(i->features & IMAGE_FEATURE_EXCLUSIVE_LOCK);
    mounts(f);
    assert_true(fake_is_fenced("192.0.2.1:0/8"));
    assert_true(i->features & IMAGE_FEATURE_EXCLUSIVE_LOCK);
    unmounts(f);
}

static void who_cannot_give_it_the_feature_does_not_mount_it(void **state)
{
    static const char *const steps[] = { "image_watcher", "image_add_exclusive_lock" };
    struct fixture *f = *state;
    of_old(NULL);
    for (size_t n = 0; n < 2; n++) {
        fake_fail(steps[n], -ETIMEDOUT, 1);
        refuses(f, -ETIMEDOUT, "cannot mount 'rbd/db'");
    }
    fake_fail_after("image_watcher", 1, -ETIMEDOUT, 1); /* the look after it */
    refuses(f, -ETIMEDOUT, "cannot mount 'rbd/db'");
    mounts(f);
    unmounts(f);
}

/* ---- snapshots ---- */

static void a_snapshot_that_is_locked_may_be_being_written(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"xfs\",\"snapshot\":true,\"ro\":true}");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    refuses(f, -EBUSY, "it is a read-only snapshot, but a client at " OWNER " has locked it");
    assert_null(fake_image_lock(i, "rbdvol.ctl"));
    fake_image_lock(i, "rbd_lock")->held = false;
    fake_fail("imagelock_holder rbd_lock", -ETIMEDOUT, 1);
    refuses(f, -ETIMEDOUT, "cannot mount 'rbd/db'");
    assert_null(fake_image_lock(i, "rbdvol.ctl"));
    mounts(f);
    unmounts(f);
}

/* ---- between two looks ---- */

struct growing {
    struct fixture *fixture;
    int rc;
    struct error err;
};

static void *grow(void *arg)
{
    struct growing *g = arg;
    json_auto_t *told = NULL;
    g->rc = resize_volume(g->fixture->engine, "db", "2G", clock_in_ms(10000), &told, &g->err);
    return NULL;
}

static void what_replaced_it_meanwhile_is_not_taken_for_it(void **state)
{
    struct growing g = { .fixture = *state };
    pthread_t thread;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_hold("image_read_header");
    assert_int_equal(pthread_create(&thread, NULL, grow, &g), 0);
    fake_wait_held("image_read_header", 1);
    fake_lock();
    i->used = false;
    fake_unlock();
    const struct fake_image *other = fake_volume_add(NULL, "db");
    fake_go("image_read_header");
    pthread_join(thread, NULL);
    assert_int_equal(g.rc, -EAGAIN);
    assert_non_null(strstr(g.err.msg, "another client has just replaced image 'db': try again"));
    assert_true(other->size == 1ULL << 30);
}

/* A lock without a record is some other program's; but a host of ours is at work. */
static void who_is_about_to_sign_its_lock_is_given_a_moment(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    fake_image_watch(i, OWNER, true);
    fake_image_lock_set(i, "rbdvol.ctl", "host9/m/b/rbd/abc/-", "", "192.0.2.9:0/76");
    refuses(f, -EBUSY, "which is no rbdvol"); /* it has not signed it */
    assert_true(fake_count("imagelock_holder") > 10);
    fake_fail("imagelock_holder rbdvol.ctl", -ETIMEDOUT, 1);
    refuses(f, -ETIMEDOUT, "cannot mount 'rbd/db'");
    assert_false(fake_is_fenced(OWNER));
}

static int take_ctl(struct fixture *f, struct fake_image *i, const char *host, const char *boot,
                    struct error *err)
{
    char cookie[LOCK_TEXT_MAX];
    struct ctl ctl = { 0 };
    auto_place struct place p = PLACE_NONE;
    const struct owner_self *self = &f->engine->self;
    (void)snprintf(cookie, sizeof cookie, "%s/%s/%s/%s/00ff/-", host, self->host->machine_id, boot,
                   self->instance);
    fake_image_lock_set(i, "rbdvol.ctl", cookie, "", "192.0.2.9:0/76");
    const struct image_name name = { .pool = "rbd", .image = "db" };
    assert_int_equal(engine_place(f->engine, &name, &p, err), 0);
    int rc = ctl_take(&p, i->id, self, clock_in_ms(60), &ctl, err);
    struct fake_lock *there = fake_image_lock(i, "rbdvol.ctl");
    assert_non_null(there);
    if (rc < 0)
        assert_string_equal(there->holder.cookie, cookie);
    ctl_drop(&p, &ctl);
    there->held = false;
    return rc;
}

/* Of one machine id there may be two, where machines are cloned; "rbd" is what nearly all instances are
 * called. */
static void only_what_a_daemon_of_this_very_host_left_is_taken_at_once(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    const struct identity *host = f->engine->self.host;
    assert_int_equal(take_ctl(f, i, host->host, host->boot_id, &err), 0);
    assert_int_equal(take_ctl(f, i, host->host, "an-earlier-boot", &err), 0);
    assert_int_equal(take_ctl(f, i, "its-clone", "another-boot", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "host its-clone is changing its state just now"));
    assert_int_equal(take_ctl(f, i, "its-clone", host->boot_id, &err), -EBUSY);
}

static void an_owner_is_named_with_the_time_since_when(void **state)
{
    char text[OWNERSHIP_TEXT_MAX], id[MAPPING_ID_LEN + 1];
    struct ownership o = { .kind = OWNER_HOST };
    (void)state;
    identity_stamped_id(id);
    (void)snprintf(o.record.host, sizeof o.record.host, "host9");
    (void)snprintf(o.record.mapping, sizeof o.record.mapping, "%s", id);
    (void)snprintf(o.holder.client, sizeof o.holder.client, "client.4122");
    assert_non_null(
        strstr(ownership_text(&o, text), "host host9 (rbdvol instance , client.4122 at , since 20"));
    o = (struct ownership){ .kind = OWNER_NONE };
    assert_string_equal(ownership_text(&o, text), "nobody");
}

/* ---- while it is mapped ---- */

static void check_owners_now(struct fixture *f)
{
    pthread_mutex_lock(&f->engine->lock);
    f->engine->check_owners_at = 0;
    pthread_mutex_unlock(&f->engine->lock);
}

static void mapping_address(struct fixture *f, char address[ADDRESS_MAX])
{
    struct volume *v = fixture_volume(f, "db");
    assert_non_null(v);
    pthread_mutex_lock(&v->lock);
    memcpy(address, v->mapping.address, ADDRESS_MAX);
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
}

/* The next daemon does not know the address of a client in the kernel: the record does. */
static void an_adopted_mappings_address_is_learned(void **state)
{
    struct fixture *f = *state;
    char address[ADDRESS_MAX];
    fake_volume_add(NULL, "db");
    fake_mapper_kernel();
    mounts(f);
    fixture_stop(f);
    fixture_start(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    fake_calls_reset();
    check_owners_now(f);
    fake_wait_count("imagelock_holder", 2);
    mapping_address(f, address);
    assert_string_equal(address, "192.0.2.1:0/1001");
    unmounts(f);
}

/* A record of another mapping tells nothing of this one. */
static void of_another_mappings_record_nothing_is_learned(void **state)
{
    struct fixture *f = *state;
    char address[ADDRESS_MAX];
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_mapper_kernel();
    mounts(f);
    fixture_stop(f);
    fake_image_lock(i, "rbdvol")->held = false;
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/" OWNER, "", "192.0.2.9:0/76");
    fixture_start(f);
    fake_calls_reset();
    check_owners_now(f);
    fake_wait_count("imagelock_holder", 1);
    fixture_settle(f);
    mapping_address(f, address);
    assert_string_equal(address, "");
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    fixture_stop(f);
}

static void who_cannot_ask_for_the_lock_takes_nothing_for_lost(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    fake_mapper_kernel();
    mounts(f);
    fake_calls_reset();
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    check_owners_now(f);
    fake_wait_count("cluster_place", 1);
    fake_cluster_set(FAKE_CLUSTER_UP);
    fake_fail("imagelock_holder", -ETIMEDOUT, 1);
    fake_wait_count("imagelock_holder", 1);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    struct volume *v = fixture_volume(f, "db");
    assert_false(v->lost);
    registry_release(&f->engine->registry, v);
    unmounts(f);
}

static bool is_lost(const struct volume *v, unsigned n)
{
    (void)n;
    return v->lost && !v->busy;
}

static bool is_in_trouble(const struct volume *v, unsigned n)
{
    (void)n;
    return v->lost && !v->busy && v->trouble.code < 0;
}

/* Something has its dead device open still, and is not to be seen. */
static void what_is_lost_and_still_open_is_not_mounted_again(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    mounts(f);
    fake_mounted_elsewhere("pid 4711 (sh)");
    fake_mapping_kill("db");
    fixture_wait(f, "db", is_in_trouble, 0);
    assert_int_equal(fixture_mount(f, "db", "other", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "something still has its old device /dev/loop0 open"));
    fake_mounted_elsewhere(NULL);
    fixture_retry_now(f, "db");
    fixture_wait(f, "db", is_lost, 0);
    fixture_settle(f);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

/* rbd-nbd goes by the name. */
static void what_lost_its_name_is_not_attached_again(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    mounts(f);
    fake_mapping_waits();
    fake_lock();
    i->deaf = true;
    (void)snprintf(i->listed, sizeof i->listed, "other");
    (void)snprintf(i->objects[0], sizeof i->objects[0], "other");
    fake_unlock();
    fake_volume_add(NULL, "db");
    fake_mapping_kill("db");
    fixture_wait(f, "db", is_lost, 0);
    struct volume *v = fixture_volume(f, "db");
    assert_non_null(strstr(v->loss.why, "another image has its name now"));
    registry_release(&f->engine->registry, v);
    assert_int_equal(fake_count("reattach"), 0);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
}

/* ---- a Create that somebody undoes ---- */

static void *create(void *arg)
{
    struct growing *g = arg;
    g->rc = create_volume(g->fixture->engine, "db", NULL, clock_in_ms(10000), &g->err);
    return NULL;
}

static void what_is_removed_as_soon_as_it_is_made_is_no_missing_volume(void **state)
{
    struct growing g = { .fixture = *state };
    pthread_t thread;
    fake_hold("image_rename");
    assert_int_equal(pthread_create(&thread, NULL, create, &g), 0);
    fake_wait_held("image_rename", 1);
    fake_hold("image_find");
    fake_go("image_rename");
    fake_wait_held("image_find", 1);
    struct fake_image *i = fake_image_find("rbd", "db");
    assert_non_null(i);
    fake_lock();
    i->used = false;
    fake_unlock();
    fake_go("image_find");
    pthread_join(thread, NULL);
    assert_int_equal(g.rc, -EAGAIN);
    assert_non_null(strstr(g.err.msg, "another client removed it as soon as it was made: try again"));
}

/* ---- the engine as a whole ---- */

static bool is_stuck(const struct volume *v, unsigned n)
{
    (void)n;
    return v->stuck_since != 0;
}

static void the_summary_counts_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    char text[200];
    const struct mapping_health stuck = {
        .state = MAPPING_READY, .opens = 1, .inflight = 3, .stalled_ms = 121000
    };
    fake_volume_add(NULL, "db");
    mounts(f);
    volumes_summary(f->engine, text, sizeof text);
    assert_string_equal(text, "cluster up, 1 volumes mounted");
    fake_mapping_health("db", &stuck);
    fixture_wait(f, "db", is_stuck, 0);
    volumes_summary(f->engine, text, sizeof text);
    assert_string_equal(text, "cluster up, 1 volumes mounted, 1 stuck");
    fake_mapping_kill("db");
    fixture_wait(f, "db", is_lost, 0);
    volumes_summary(f->engine, text, sizeof text);
    assert_non_null(strstr(text, "cluster up, 0 volumes mounted, 1 lost"));
    volumes_summary(f->engine, text, 12); /* what has no room is left out */
    assert_string_equal(text, "cluster up,");
    unmounts(f);
}

static void while_it_looks_for_what_is_mapped_nothing_is_mapped(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fixture_stop(f);
    fake_calls_reset();
    fake_hold("mapper_find");
    assert_int_equal(volumes_start(&f->settings, &f->engine, &err), 0);
    fake_wait_held("mapper_find", 1);
    assert_int_equal(engine_wait_recovered(f->engine, clock_in_ms(50), &err), -EBUSY);
    assert_non_null(strstr(err.msg, "still looking for what an earlier daemon left mapped"));
    fake_go("mapper_find");
    assert_int_equal(engine_wait_recovered(f->engine, clock_in_ms(10000), &err), 0);
}

static void a_mapper_is_kept_ready_where_that_is_wanted(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fake_count("prepare"), 0);
    fixture_stop(f);
    f->settings.spare_mapper = true;
    fixture_start(f);
    fake_wait_count("prepare", 1);
}

/* Part of a command that somebody types, it would be another. */
static void a_dangerous_key_is_named_unless_its_name_is_odd(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->danger, "conf_rbd_cache");
    refuses(f, -EINVAL, "`rbd image-meta remove rbd/db conf_rbd_cache` takes it away");
    fake_image_set(&i->danger, "conf_rbd_cache;reboot");
    refuses(f, -EINVAL, "of an odd name, would undo the safety of its lock");
    fake_image_set(&i->danger, NULL);
    mounts(f);
    unmounts(f);
}

static bool is_asked(const struct volume *v, unsigned n)
{
    (void)n;
    return v->loss.ask_at != 0 && !v->busy;
}

static void who_has_what_was_lost_is_said_once(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    mounts(f);
    fake_mapping_kill("db");
    fixture_wait(f, "db", is_asked, 0);
    struct volume *v = fixture_volume(f, "db");
    unsigned asked = fake_count("imagelock_holder");
    pthread_mutex_lock(&v->lock);
    v->loss.ask_at = 0;
    pthread_mutex_unlock(&v->lock);
    fake_wait_count("imagelock_holder", asked + 2);
    fixture_wait(f, "db", is_asked, 0);
    assert_non_null(strstr(v->loss.now, "its lock is still that of the lost mapping"));
    registry_release(&f->engine->registry, v);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_image_of_old_that_somebody_has_open_is_left_as_it_is),
        TEST(what_an_earlier_daemon_has_open_is_fenced),
        TEST(who_cannot_give_it_the_feature_does_not_mount_it),
        TEST(a_snapshot_that_is_locked_may_be_being_written),
        TEST(what_replaced_it_meanwhile_is_not_taken_for_it),
        TEST(who_is_about_to_sign_its_lock_is_given_a_moment),
        TEST(only_what_a_daemon_of_this_very_host_left_is_taken_at_once),
        TEST(an_owner_is_named_with_the_time_since_when),
        TEST(an_adopted_mappings_address_is_learned),
        TEST(of_another_mappings_record_nothing_is_learned),
        TEST(who_cannot_ask_for_the_lock_takes_nothing_for_lost),
        TEST(what_is_lost_and_still_open_is_not_mounted_again),
        TEST(what_lost_its_name_is_not_attached_again),
        TEST(what_is_removed_as_soon_as_it_is_made_is_no_missing_volume),
        TEST(the_summary_counts_what_is_wrong),
        TEST(while_it_looks_for_what_is_mapped_nothing_is_mapped),
        TEST(a_mapper_is_kept_ready_where_that_is_wanted),
        TEST(a_dangerous_key_is_named_unless_its_name_is_odd),
        TEST(who_has_what_was_lost_is_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
