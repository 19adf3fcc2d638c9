/* SPDX-License-Identifier: MIT */
#include "cmocka-headers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/scope.h"

/* In place of the library's: the machine of the test need not have been. */
int sd_booted(void)
{
    return 1;
}

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

/* As the kernel's queue takes a connection, or a bus that hangs does. */
static void a_bus_that_accepts_and_says_nothing_is_waited_for_no_longer_than_asked(void **state)
{
    char dir[] = "/tmp/test-scope-XXXXXX", address[160];
    struct sockaddr_un bus = { .sun_family = AF_UNIX };
    const struct scope scope = { "rbdvol-test-1", "a test", NULL };
    struct error err;
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(bus.sun_path, sizeof bus.sun_path, "%s/bus", dir);
    (void)snprintf(address, sizeof address, "unix:path=%s", bus.sun_path);
    auto_close int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (const struct sockaddr *)&bus, sizeof bus), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
    moment began = clock_now();
    assert_int_equal(scope_move(&scope, getpid(), clock_in_ms(300), &err), -ETIMEDOUT);
    assert_true(clock_since_ms(began) >= 250);
    assert_true(clock_since_ms(began) < 3000);
    (void)unlink(bus.sun_path);
    (void)rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mount_units_are_named_as_systemd_does),
        cmocka_unit_test(a_path_that_systemd_ignores_has_no_unit),
        cmocka_unit_test(a_bus_that_accepts_and_says_nothing_is_waited_for_no_longer_than_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
