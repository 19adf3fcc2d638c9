/* SPDX-License-Identifier: MIT */
/* Mappings that do not tell when they are fenced: the cluster is asked, also while a part of it hangs. */
#include <stdio.h>

#include "cmocka-headers.h"
#include "fakes/engine.h"

static const char *const names[] = { "ssd/slow1", "rbd/db", "ssd/slow2" };

static void mounted(struct fixture *f)
{
    struct error err;
    struct fake_pool *ssd = fake_pool_add("ssd", "");
    (void)snprintf(f->settings.pools[1], sizeof f->settings.pools[1], "ssd");
    f->settings.npools = 2;
    fake_mapper_kernel();
    fake_volume_add(ssd, "slow1");
    fake_volume_add(NULL, "db");
    fake_volume_add(ssd, "slow2");
    for (size_t i = 0; i < 3; i++)
        if (fixture_mount(f, names[i], "one", &err) < 0)
            fail_msg("%s", err.msg);
    fixture_settle(f);
}

static void check_owners_now(struct fixture *f)
{
    pthread_mutex_lock(&f->engine->lock);
    f->engine->check_owners_at = 0;
    pthread_mutex_unlock(&f->engine->lock);
}

static bool is_lost(const struct volume *v, unsigned unused)
{
    (void)unused;
    return v->lost && !v->busy;
}

/* Both of the slow pool's are asked for at once, and not again before they are answered; who comes after them
 * waits for neither. */
static void a_pool_that_hangs_delays_no_news_of_anothers_volumes(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f);
    fake_hold("cluster_place ssd");
    check_owners_now(f);
    fake_wait_held("cluster_place ssd", 2);
    unsigned asked = fake_count("cluster_place ssd");
    struct fake_image *i = fake_image_find("rbd", "db");
    fake_lock();
    fake_image_lock(i, "rbd_lock")->held = false;
    fake_image_lock_set(i, "rbd_lock", "auto 9", "internal", "192.0.2.9:0/99");
    fake_unlock();
    check_owners_now(f);
    fixture_wait(f, "db", is_lost, 0);
    assert_int_equal(fake_count("cluster_place ssd"), asked);
    fake_go_all();
    fixture_settle(f);
    for (size_t n = 0; n < 3; n++)
        assert_int_equal(fixture_unmount(f, names[n], "one", &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pool_that_hangs_delays_no_news_of_anothers_volumes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
