/* SPDX-License-Identifier: MIT */
/* Pools, namespaces and names that mean more than one of them: what Create makes, and where. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/create.h"

static struct fake_pool *ssd;

static int setup(void **state)
{
    int rc = fixture_test_setup(state);
    struct fixture *f = *state;
    ssd = fake_pool_add("ssd", "");
    (void)snprintf(f->settings.pools[1], sizeof f->settings.pools[1], "ssd");
    f->settings.npools = 2;
    return rc;
}

static int create(struct fixture *f, const char *name, const char *opts, struct error *err)
{
    json_auto_t *j = opts ? json_loads(opts, 0, NULL) : NULL;
    *err = (struct error){ 0 };
    fake_trace_clear();
    return create_volume(f->engine, name, j, clock_in_ms(10000), err);
}

static void refuses(struct fixture *f, const char *name, const char *opts, int code, const char *words)
{
    struct error err;
    size_t before = fake_image_count();
    int rc = create(f, name, opts, &err);
    if (rc != code || !strstr(err.msg, words))
        fail_msg("%s: %d %s", name, rc, err.msg);
    assert_int_equal(fake_image_count(), before);
    fixture_expect_trace("");
}

static void makes(struct fixture *f, const char *name, const char *opts)
{
    struct error err;
    if (create(f, name, opts, &err) < 0)
        fail_msg("%s: %s", name, err.msg);
}

/* REX-Ray's POOL.NAME. */
static void a_dotted_name_of_what_is_in_a_pool_makes_no_new_one(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(ssd, "db");
    refuses(f, "ssd.db", NULL, -EINVAL, "there is no volume 'ssd.db', but 'ssd/db', as it is written here");
    makes(f, "rbd/ssd.db", NULL); /* its pool is named */
    assert_non_null(fake_image_find("rbd", "ssd.db"));
    makes(f, "ssd.other", NULL); /* there is no such one in that pool */
    assert_non_null(fake_image_find("rbd", "ssd.other"));
    makes(f, "ssdx.db", NULL);
    makes(f, "ssd.-", NULL); /* behind the dot there is no name */
}

static void a_pool_that_cannot_be_asked_may_have_the_dotted_name(void **state)
{
    struct fixture *f = *state;
    fake_fail("image_find db", -ETIMEDOUT, 1);
    refuses(f, "ssd.db", NULL, -ETIMEDOUT, "");
    makes(f, "ssd.db", NULL);
}

static void what_would_not_be_found_again_is_named_in_full(void **state)
{
    struct fixture *f = *state;
    fake_pool_add("hdd", "");
    refuses(f, "db", "{\"pool\":\"hdd\"}", -EINVAL,
            "option pool: a volume there is not found by its short name again; name it 'hdd/db' wherever");
    refuses(f, "db", "{\"namespace\":\"ns\"}", -EINVAL,
            "option namespace: a volume there is not found by its short name again; name it 'rbd/ns/db'");
    makes(f, "db", "{\"pool\":\"ssd\"}"); /* which is searched */
    assert_non_null(fake_image_find("ssd", "db"));
    makes(f, "hdd/db", "{\"pool\":\"hdd\"}");
    assert_non_null(fake_image_find("hdd", "db"));
}

static void a_namespace_that_is_not_there_is_named_with_the_way_to_make_it(void **state)
{
    struct fixture *f = *state;
    fake_pool_add("rbd", "ns");
    fake_fail("image_create", -ENODEV, 1);
    refuses(f, "rbd/ns/db", NULL, -ENODEV,
            "pool 'rbd' has no namespace 'ns'; `rbd namespace create rbd/ns` makes it");
    fake_fail("image_create", -ENODEV, 1);
    refuses(f, "rbd/db", NULL, -ENODEV, "injected failure of image_create");
    makes(f, "rbd/ns/db", NULL);
}

static void a_name_in_two_pools_is_refused_with_both(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    fake_volume_add(ssd, "db");
    refuses(f, "db", NULL, -EEXIST, "'db' is ambiguous: write 'rbd/db' or 'ssd/db'");
    makes(f, "ssd/db", NULL);
}

static void while_a_pool_cannot_be_asked_nothing_is_made(void **state)
{
    struct fixture *f = *state;
    fake_fail_after("cluster_place", 1, -ETIMEDOUT, 1); /* the second */
    refuses(f, "db", NULL, -ETIMEDOUT, "cannot tell in which pool 'db' is");
    fake_fail("image_find", -EPERM, 1);
    refuses(f, "db", NULL, -EPERM, "cannot tell in which pool 'db' is");
}

static void a_host_that_makes_no_images_says_so(void **state)
{
    struct fixture *f = *state;
    f->settings.create = false;
    refuses(f, "db", NULL, -EPERM, "this host does not create images (create = no)");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_dotted_name_of_what_is_in_a_pool_makes_no_new_one),
        TEST(a_pool_that_cannot_be_asked_may_have_the_dotted_name),
        TEST(what_would_not_be_found_again_is_named_in_full),
        TEST(a_namespace_that_is_not_there_is_named_with_the_way_to_make_it),
        TEST(a_name_in_two_pools_is_refused_with_both),
        TEST(while_a_pool_cannot_be_asked_nothing_is_made),
        TEST(a_host_that_makes_no_images_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
