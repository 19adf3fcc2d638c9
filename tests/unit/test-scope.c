/* SPDX-License-Identifier: MIT */
#include "cmocka-headers.h"

#include <errno.h>
#include <string.h>

#include "host/scope.h"

static void mount_units_are_named_as_systemd_does(void **state)
{
    /* systemd-escape --path --suffix=mount */
    static const struct {
        const char *path, *unit;
    } known[] = {
        { "/", "-.mount" },
        { "/var/lib/rbdvol/rbd/mnt/rbd/db", "var-lib-rbdvol-rbd-mnt-rbd-db.mount" },
        { "/mnt//a/", "mnt-a.mount" },
        { "/mnt/rbd+tenant/a-b_c.d", "mnt-rbd\\x2btenant-a\\x2db_c.d.mount" },
        { "/.hidden/.x", "\\x2ehidden-.x.mount" },
        { "/a\\b:c@d", "a\\x5cb:c\\x40d.mount" },
    };
    char buf[300];
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(scope_mount_unit(known[i].path, buf, sizeof buf), 0);
        assert_string_equal(buf, known[i].unit);
    }
}

static void a_path_that_systemd_ignores_has_no_unit(void **state)
{
    char path[300], buf[400];
    (void)state;
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(scope_mount_unit(path, buf, sizeof buf), -ENAMETOOLONG);
    path[200] = '\0';
    assert_int_equal(scope_mount_unit(path, buf, sizeof buf), 0);
    assert_int_equal(scope_mount_unit(path, buf, 100), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mount_units_are_named_as_systemd_does),
        cmocka_unit_test(a_path_that_systemd_ignores_has_no_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
