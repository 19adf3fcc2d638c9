/* SPDX-License-Identifier: MIT */
/* `rbdvol trash`: what is seen, taken back and deleted, and what is nobody's business of ours. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/remove.h"
#include "volume/trash.h"

static void gone(struct fixture *f, const char *name)
{
    struct error err;
    if (remove_volume(f->engine, name, false, clock_in_ms(10000), &err) < 0)
        fail_msg("%s", err.msg);
}

static json_t *listed(struct fixture *f)
{
    json_t *told = NULL;
    struct error err;
    if (trash_list(f->engine, &told, &err) < 0)
        fail_msg("%s", err.msg);
    return told;
}

static const char *member(const json_t *told, size_t i, const char *key)
{
    return json_string_value(json_object_get(json_array_get(json_object_get(told, "Volumes"), i), key));
}

static int restore(struct fixture *f, const char *what, const char *as, struct error *err)
{
    json_auto_t *told = NULL;
    *err = (struct error){ 0 };
    return trash_restore(f->engine, what, as, &told, err);
}

static int purge(struct fixture *f, const char *what, struct error *err)
{
    *err = (struct error){ 0 };
    return trash_purge(f->engine, what, clock_in_ms(10000), err);
}

static void what_was_removed_is_listed_with_its_time(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    fake_volume_add(NULL, "theirs")->trashed = true; /* by another program */
    gone(f, "db");
    json_auto_t *told = listed(f);
    assert_int_equal(json_array_size(json_object_get(told, "Volumes")), 1);
    assert_string_equal(member(told, 0, "Name"), "rbd/db");
    assert_int_equal(strlen(member(told, 0, "Trashed")), 20);
    assert_true(strcmp(member(told, 0, "Until"), member(told, 0, "Trashed")) > 0);
}

static void it_is_taken_back_under_its_name_or_another(void **state)
{
    struct fixture *f = *state;
    struct error err;
    char id[IMAGE_ID_LEN + 1];
    fake_volume_add(NULL, "db");
    gone(f, "db");
    assert_int_equal(restore(f, "db", "", &err), 0);
    assert_non_null(fake_image_find("rbd", "db"));
    gone(f, "rbd/db");
    json_auto_t *told = listed(f);
    (void)snprintf(id, sizeof id, "%s", member(told, 0, "Id"));
    assert_int_equal(restore(f, id, "other", &err), 0);
    assert_non_null(fake_image_find("rbd", "other"));
    assert_int_equal(fake_trash_count(), 0);
    assert_int_equal(restore(f, id, "", &err), -ENODEV);
    assert_non_null(strstr(err.msg, "cannot restore"));
    assert_non_null(strstr(err.msg, "that rbdvol put there"));
}

static void what_could_be_two_is_asked_for_by_its_id(void **state)
{
    struct fixture *f = *state;
    struct error err;
    for (unsigned i = 0; i < 2; i++) {
        fake_volume_add(NULL, "db");
        gone(f, "db");
    }
    json_auto_t *told = listed(f);
    for (int i = 0; i < 2; i++) {
        int rc = i ? purge(f, "db", &err) : restore(f, "db", "", &err);
        assert_int_equal(rc, -EEXIST);
        assert_non_null(strstr(err.msg, member(told, 0, "Id")));
        assert_non_null(strstr(err.msg, member(told, 1, "Id")));
    }
    assert_int_equal(purge(f, member(told, 0, "Id"), &err), 0);
    fake_volume_add(NULL, "db");
    assert_int_equal(restore(f, "db", "", &err), -EEXIST);
    assert_non_null(strstr(err.msg, "there is an image 'db'"));
    assert_int_equal(restore(f, "db", "ssd/db", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "stays there"));
    assert_int_equal(restore(f, "db", "../db", &err), -EINVAL);
    assert_int_equal(fake_trash_count(), 1);
}

static void one_is_deleted_before_its_time_and_without_a_name_those_that_are_due(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_volume_add(NULL, "theirs")->trashed = true;
    i->snapshots = true;
    gone(f, "db");
    assert_int_equal(purge(f, "db", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "cannot purge 'db': image id"));
    i->snapshots = false;
    assert_int_equal(purge(f, "db", &err), 0);
    assert_int_equal(fake_trash_count(), 1);
    assert_int_equal(purge(f, "theirs", &err), -ENODEV);
    assert_int_equal(purge(f, "", &err), 0);
    fake_fail("image_purge_own", -ETIMEDOUT, 1);
    assert_int_equal(purge(f, "", &err), -ETIMEDOUT);
    assert_non_null(strstr(err.msg, "cannot purge the trash"));
    assert_int_equal(fake_trash_count(), 1);
}

/* "db" of another namespace is not the "db" that a name without one means. */
static void every_namespace_that_the_key_opens_is_walked(void **state)
{
    struct fixture *f = *state;
    struct error err;
    char id[IMAGE_ID_LEN + 1];
    fake_volume_add(fake_pool_add("rbd", "ten"), "db");
    gone(f, "rbd/ten/db");
    json_auto_t *told = listed(f);
    assert_string_equal(member(told, 0, "Name"), "rbd/ten/db");
    (void)snprintf(id, sizeof id, "%s", member(told, 0, "Id"));
    assert_int_equal(restore(f, "db", "", &err), -ENODEV);
    assert_int_equal(purge(f, "rbd/db", &err), -ENODEV);
    assert_int_equal(restore(f, id, "rbd/db", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "it was in 'rbd/ten', and stays there"));
    assert_int_equal(restore(f, id, "", &err), 0);
    gone(f, "rbd/ten/db");
    assert_int_equal(restore(f, "rbd/ten/db", "rbd/ten/other", &err), 0);
    gone(f, "rbd/ten/other");
    assert_int_equal(purge(f, "rbd/ten/other", &err), 0);
    assert_int_equal(fake_trash_count(), 0);
    unsigned before = fake_count("image_purge_own");
    assert_int_equal(purge(f, "", &err), 0);
    assert_int_equal(fake_count("image_purge_own"), before + 2);
}

static void a_namespace_of_others_is_left_out(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_pool_add("rbd", "closed");
    fake_volume_add(NULL, "db");
    gone(f, "db");
    fake_fail("namespaces_each", -EPERM, 1); /* a tenant's key */
    json_auto_t *told = listed(f);
    assert_int_equal(json_array_size(json_object_get(told, "Volumes")), 1);
    fake_fail_after("image_purge_own", 1, -EPERM, 1);
    assert_int_equal(purge(f, "", &err), 0);
    fake_fail("image_purge_own", -EPERM, 1); /* of its own it is said */
    assert_int_equal(purge(f, "", &err), -EPERM);
    fake_fail("namespaces_each", -ETIMEDOUT, 1);
    assert_int_equal(purge(f, "", &err), -ETIMEDOUT);
}

static void a_cluster_that_cannot_be_asked_is_no_empty_trash(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *told = NULL;
    fake_fail("image_trashed_each", -ETIMEDOUT, 1);
    assert_int_equal(trash_list(f->engine, &told, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.msg, "cannot list the trash: pool 'rbd'"));
    assert_null(told);
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    assert_int_equal(restore(f, "db", "", &err), -ENOTCONN);
    assert_int_equal(purge(f, "db", &err), -ENOTCONN);
    fake_cluster_set(FAKE_CLUSTER_UP);
}

static void what_is_no_name_is_no_volume_either(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    gone(f, "db");
    memset(i->was, 'x', 200); /* longer than any name of a volume */
    i->was[200] = '\0';
    json_auto_t *told = listed(f);
    assert_int_equal(json_array_size(json_object_get(told, "Volumes")), 0);
    assert_int_equal(restore(f, "a//b", "", &err), -ENODEV);
    assert_non_null(strstr(err.msg, "cannot restore 'a//b': nothing of that name or id"));
    assert_int_equal(purge(f, "../etc", &err), -ENODEV);
    assert_int_equal(fake_trash_count(), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_removed_is_listed_with_its_time),
        TEST(it_is_taken_back_under_its_name_or_another),
        TEST(what_could_be_two_is_asked_for_by_its_id),
        TEST(one_is_deleted_before_its_time_and_without_a_name_those_that_are_due),
        TEST(every_namespace_that_the_key_opens_is_walked),
        TEST(a_namespace_of_others_is_left_out),
        TEST(a_cluster_that_cannot_be_asked_is_no_empty_trash),
        TEST(what_is_no_name_is_no_volume_either),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
