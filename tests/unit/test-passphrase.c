/* SPDX-License-Identifier: MIT */
/* What may be a passphrase's file, and what of it counts. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/passphrase.h"
#include "cmocka-headers.h"

static char dir[] = "/tmp/rbdvol-key-XXXXXX";
static char path[PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/k", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static void put(const char *text, size_t len, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static int read_it(struct passphrase *p, struct error *err)
{
    *err = (struct error){ 0 };
    return passphrase_read(path, p, err);
}

static void one_line_end_does_not_count(void **state)
{
    struct passphrase p;
    struct error err;
    (void)state;
    put("secret\n", 7, 0600);
    assert_int_equal(read_it(&p, &err), 0);
    assert_int_equal(p.len, 6);
    assert_memory_equal(p.bytes, "secret", 6);
    put("a\n\0b\n\n", 6, 0400);
    assert_int_equal(read_it(&p, &err), 0);
    assert_int_equal(p.len, 5);
    assert_memory_equal(p.bytes, "a\n\0b\n", 5);
    passphrase_done(&p);
    assert_int_equal(p.len, 0);
    assert_int_equal(p.bytes[0], 0);
}

static void too_much_and_nothing_are_refused(void **state)
{
    static char text[PASSPHRASE_MAX + 1];
    struct passphrase p;
    struct error err;
    (void)state;
    memset(text, 'x', sizeof text);
    put(text, PASSPHRASE_MAX, 0600);
    assert_int_equal(read_it(&p, &err), 0);
    assert_int_equal(p.len, PASSPHRASE_MAX);
    put(text, sizeof text, 0600);
    assert_int_equal(read_it(&p, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "longer than 512 bytes"));
    assert_null(strstr(err.msg, "xxx"));
    put("\n", 1, 0600);
    assert_int_equal(read_it(&p, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "is empty"));
    assert_int_equal(p.len, 0);
}

static void what_others_can_reach_is_refused(void **state)
{
    static const mode_t open[] = { 0640, 0604, 0660, 0777 };
    struct passphrase p;
    struct error err;
    (void)state;
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        put("secret", 6, open[i]);
        assert_int_equal(read_it(&p, &err), -EPERM);
    }
    put("secret", 6, 0600);
    assert_int_equal(chmod(dir, 0720), 0);
    assert_int_equal(read_it(&p, &err), -EPERM);
    assert_int_equal(chmod(dir, 0755), 0); /* to be listed is no harm */
    assert_int_equal(read_it(&p, &err), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(read_it(&p, &err), -ENOKEY); /* never -ENOENT: that is an image that is not there */
    assert_int_equal(passphrase_read("/no/such/dir/k", &p, &err), -ENOKEY);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(read_it(&p, &err), -EINVAL);
    assert_int_equal(rmdir(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_end_does_not_count),
        cmocka_unit_test(too_much_and_nothing_are_refused),
        cmocka_unit_test(what_others_can_reach_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
