/* SPDX-License-Identifier: MIT */
/* Which mapper is chosen, and why the others are not. The mappers themselves are here: each can be told why
 * it cannot be used. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmocka-headers.h"
#include "host/krbd.h"
#include "host/mapper.h"

static const char *no_krbd, *no_nbd, *no_fuse; /* why not; NULL: it can */
static int find_rc[3];
static unsigned found[3];
static bool alive[3];

static int say(const char *why, struct error *err)
{
    return why ? error_set(err, -ENODEV, "%s", why) : 0;
}

static int probe_krbd(const struct mapper_image *image, struct error *err)
{
    (void)image;
    return say(no_krbd, err);
}

static int probe_nbd(const struct mapper_image *image, struct error *err)
{
    (void)image;
    return say(no_nbd, err);
}

static int probe_fuse(const struct mapper_image *image, struct error *err)
{
    (void)image;
    return say(no_fuse, err);
}

static int fail_io(const struct mapping *m, struct error *err)
{
    (void)m;
    (void)err;
    return 0;
}

static int find(int which, struct error *err)
{
    found[which]++;
    return find_rc[which] < 0 ? error_set(err, find_rc[which], "cannot look, %d", which) : 0;
}

#define WAYS(name, which)                                                                                    \
    static int find_##name(const struct mapper_host *host, bool (*each)(void *arg, const struct mapping *m), \
                           void *arg, struct error *err)                                                     \
    {                                                                                                        \
        (void)host;                                                                                          \
        (void)each;                                                                                          \
        (void)arg;                                                                                           \
        return find(which, err);                                                                             \
    }                                                                                                        \
    static bool alive_##name(const struct mapper_host *host, const char *id)                                 \
    {                                                                                                        \
        (void)host;                                                                                          \
        (void)id;                                                                                            \
        return alive[which];                                                                                 \
    }
WAYS(krbd, 0)
WAYS(nbd, 1)
WAYS(fuse, 2)

const struct mapper mapper_krbd = {
    .name = "krbd", .probe = probe_krbd, .find = find_krbd, .alive = alive_krbd
};
const struct mapper mapper_nbd = {
    .name = "nbd", .probe = probe_nbd, .find = find_nbd, .alive = alive_nbd, .fail = fail_io
};
const struct mapper mapper_fuse = {
    .name = "fuse", .probe = probe_fuse, .find = find_fuse, .alive = alive_fuse, .fail = fail_io
};

bool krbd_takes_option(const char *word)
{
    return strcmp(word, "noudev") == 0 || strncmp(word, "queue_depth=", 12) == 0;
}

static int reset(void **state)
{
    (void)state;
    no_krbd = no_nbd = no_fuse = NULL;
    memset(find_rc, 0, sizeof find_rc);
    memset(found, 0, sizeof found);
    memset(alive, 0, sizeof alive);
    return 0;
}

static void chooses(const struct mapper_wish *wish, const struct mapper_image *image, const char *name,
                    const char *reason)
{
    const struct mapper *m = NULL;
    struct error err;
    char why[512];
    if (mapper_choose(wish, image, &m, why, sizeof why, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(m->name, name);
    assert_string_equal(why, reason);
}

static void refuses(const struct mapper_wish *wish, const struct mapper_image *image, const char *words)
{
    const struct mapper *m = NULL;
    struct error err;
    char why[512];
    assert_int_equal(mapper_choose(wish, image, &m, why, sizeof why, &err), -ENODEV);
    if (!strstr(err.msg, words))
        fail_msg("%s", err.msg);
    assert_null(m);
}

static const struct mapper_wish automatic = { .name = "auto" };

static void the_first_that_can_is_taken_and_the_reasons_told(void **state)
{
    (void)state;
    chooses(&automatic, NULL, "krbd", "the first choice");
    no_krbd = "the kernel has no rbd driver";
    chooses(&automatic, NULL, "nbd", "not krbd: the kernel has no rbd driver");
    no_nbd = "rbd-nbd is not installed";
    chooses(&automatic, NULL, "fuse",
            "not krbd: the kernel has no rbd driver; nbd: rbd-nbd is not installed");
    no_fuse = "there is no /dev/fuse";
    refuses(&automatic, NULL,
            "no mapper can be used here: krbd: the kernel has no rbd driver; nbd: rbd-nbd is not installed; "
            "fuse: there is no /dev/fuse");
}

static void what_the_volume_needs_counts_before_what_the_host_can(void **state)
{
    (void)state;
    const struct mapper_image limited = { .not_krbd = "the volume limits its I/O" },
                              encrypted = { .not_krbd = "it is encrypted", .not_nbd = "it is encrypted" };
    chooses(&automatic, &limited, "nbd", "not krbd: the volume limits its I/O");
    chooses(&automatic, &encrypted, "fuse", "not krbd: it is encrypted; nbd: it is encrypted");
    const struct mapper_wish nbd = { .name = "nbd" };
    chooses(&nbd, &limited, "nbd", "asked for by name");
    refuses(&nbd, &encrypted, "mapper=nbd cannot be used here: it is encrypted");
}

static void who_wants_stuck_io_to_fail_gets_one_that_can(void **state)
{
    (void)state;
    const struct mapper_wish wish = { .name = "auto", .fails_by_itself = true },
                             krbd = { .name = "krbd", .fails_by_itself = true };
    chooses(&wish, NULL, "nbd",
            "not krbd: it cannot fail stuck I/O before the cluster answers (io-stuck-action=error)");
    chooses(&krbd, NULL, "krbd", "asked for by name");
}

static void one_that_is_asked_for_is_not_replaced_by_another(void **state)
{
    (void)state;
    const struct mapper_wish fuse = { .name = "fuse" }, none = { .name = "ublk" };
    no_fuse = "there is no /dev/fuse";
    refuses(&fuse, NULL, "mapper=fuse cannot be used here: there is no /dev/fuse");
    refuses(&none, NULL, "there is no mapper 'ublk': auto, krbd, nbd, fuse");
    assert_ptr_equal(mapper_named("nbd"), &mapper_nbd);
    assert_null(mapper_named("auto"));
}

static void reasons_that_are_too_long_are_cut(void **state)
{
    (void)state;
    static char reason[700];
    memset(reason, 'x', sizeof reason - 1);
    no_krbd = no_nbd = no_fuse = reason;
    refuses(&automatic, NULL, "no mapper can be used here: krbd: xxx");
}

/* One that cannot be looked for keeps nobody from looking for the others. */
static void all_are_looked_for_and_the_first_failure_is_told(void **state)
{
    (void)state;
    const struct mapper_host host = { 0 };
    struct error err;
    assert_int_equal(mapper_find(&host, NULL, NULL, &err), 0);
    find_rc[0] = -EMFILE;
    find_rc[1] = -EACCES;
    assert_int_equal(mapper_find(&host, NULL, NULL, &err), -EMFILE);
    assert_string_equal(err.msg, "cannot look, 0");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(found[i], 2);
    assert_false(mapper_alive(&host, "abc"));
    alive[2] = true;
    assert_true(mapper_alive(&host, "abc"));
}

static void map_options_are_krbds_and_allowed(void **state)
{
    (void)state;
    struct error err;
    static const char *const wrong[] = { "force", ",noudev", "noudev,,noudev", "noudev;x", "name=admin" };
    assert_int_equal(mapper_check_options("", &err), 0);
    assert_int_equal(mapper_check_options("noudev,queue_depth=64", &err), 0);
    assert_int_equal(mapper_check_options("noudev,", &err), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(mapper_check_options(wrong[i], &err), -EINVAL);
    assert_non_null(strstr(err.msg, "'name=admin' is no option of krbd, or one that rbdvol does not allow"));
    char word[200] = "queue_depth=";
    memset(word + 12, '1', sizeof word - 13);
    word[sizeof word - 1] = '\0';
    assert_int_equal(mapper_check_options(word, &err), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(the_first_that_can_is_taken_and_the_reasons_told),
        TEST(what_the_volume_needs_counts_before_what_the_host_can),
        TEST(who_wants_stuck_io_to_fail_gets_one_that_can),
        TEST(one_that_is_asked_for_is_not_replaced_by_another),
        TEST(reasons_that_are_too_long_are_cut),
        TEST(all_are_looked_for_and_the_first_failure_is_told),
        TEST(map_options_are_krbds_and_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
