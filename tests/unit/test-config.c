/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cmocka-headers.h"
#include "main/config.h"

static char path[] = "/tmp/rbdvol-test-config.XXXXXX";
static char flag[64];
static struct config c;
static struct error err;

static int set_up(void **state)
{
    int fd = mkstemp(path);
    (void)state;
    (void)snprintf(flag, sizeof flag, "--config=%s", path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static int each_tear_down(void **state)
{
    (void)state;
    config_free(&c);
    return 0;
}

/* NULL-ended lists; the file's text, or NULL to use no file of ours. */
static int load(const char *const *flags, const char *text, const char *const *environment)
{
    static const char *const none[] = { NULL };
    const char *argv[20];
    int n = 0;
    config_free(&c);
    if (text) {
        assert_int_equal(file_replace(path, text, strlen(text), &err), 0);
        argv[n++] = flag;
    }
    for (; flags && *flags; flags++)
        argv[n++] = *flags;
    return config_load(n, argv, environment ? environment : none, &c, &err);
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void refused(int rc, const char *message)
{
    char expected[300];
    assert_int_equal(rc, -EINVAL);
    (void)snprintf(expected, sizeof expected, "%s", message);
    const char *at = strstr(message, "FILE");
    if (at)
        (void)snprintf(expected, sizeof expected, "%.*s%s%s", (int)(at - message), message, path, at + 4);
    if (strncmp(err.msg, expected, strlen(expected)) != 0)
        fail_msg("'%s' does not begin with '%s'", err.msg, expected);
}

static void nothing_is_set(void **state)
{
    (void)state;
    assert_int_equal(load(LIST("--name=no-such-instance"), NULL, NULL), 0);
    assert_string_equal(c.file, "");
    assert_string_equal(c.settings.socket, "/run/docker/plugins/no-such-instance.sock");
    assert_string_equal(c.settings.mount_root, "/var/lib/rbdvol/no-such-instance/mnt");
    assert_string_equal(config_origin(&c, "size"), "size");
    assert_string_equal(config_origin(&c, "name"), "--name");
}

static void precedence(void **state)
{
    const char *const environment[] = { "RBDVOL_SIZE=1G", "RBDVOL_FSTYPE=ext4", "RBDVOL_POOL=e",
                                        "HOME=/",         "RBDVOL_UID=",        NULL };
    (void)state;
    assert_int_equal(load(LIST("--size=3G"), "size = 2G\npool = f\n", environment), 0);
    assert_int_equal(c.settings.size, 3ULL << 30);
    assert_string_equal(c.settings.pools[0], "f");
    assert_string_equal(c.settings.fstype, "ext4");
    assert_int_equal(c.settings.uid, 0);
    assert_string_equal(config_origin(&c, "size"), "--size");
    assert_string_equal(config_origin(&c, "fstype"), "RBDVOL_FSTYPE");
    assert_string_equal(c.file, path);
    assert_int_equal(load(LIST("--size=3G", "--size=4G"), NULL, NULL), 0);
    assert_int_equal(c.settings.size, 4ULL << 30);
}

static void dependent_defaults(void **state)
{
    (void)state;
    assert_int_equal(load(LIST("--cluster=west", "--state-dir=/srv/state"), "name = two\n", NULL), 0);
    assert_string_equal(c.settings.ceph_conf, "/etc/ceph/west.conf");
    assert_string_equal(c.settings.socket, "/run/docker/plugins/two.sock");
    assert_string_equal(c.settings.state_dir, "/srv/state");
    assert_int_equal(load(LIST("--name=three"), "name = two\n", NULL), 0);
    assert_string_equal(c.settings.socket, "/run/docker/plugins/three.sock");
    assert_int_equal(load(NULL, "", LIST("RBDVOL_NAME=four")), 0);
    assert_string_equal(c.settings.name, "four");
}

static void the_file_s_form(void **state)
{
    (void)state;
    assert_int_equal(load(NULL,
                          "# a comment\n"
                          "; another\n"
                          "\n"
                          "   \t\n"
                          "size=1G\n"
                          "  fstype = ext4\n"
                          "\tmode =  0700   ; in the line\n"
                          "pool = ssd, rbd fast\r\n"
                          "namespace =\n"
                          "uid = 5",
                          NULL),
                     0);
    assert_int_equal(c.settings.size, 1 << 30);
    assert_string_equal(c.settings.fstype, "ext4");
    assert_int_equal(c.settings.mode, 0700);
    assert_int_equal(c.settings.npools, 3);
    assert_string_equal(c.settings.pools[2], "fast");
    assert_int_equal(c.settings.uid, 5);
}

static void the_file_s_mistakes(void **state)
{
    char text[600];
    (void)state;
    refused(load(NULL, "\n\nsize = 12\n", NULL), "FILE:3: size: '12' is not a size");
    refused(load(NULL, "# x\nsise = 1G\n", NULL), "FILE:2: sise: there is no such option");
    refused(load(NULL, "size = 1G\n\nsize = 2G\n", NULL), "FILE:3: size: it is set in line 1 already");
    refused(load(NULL, "[rbd]\nsize = 1G\n", NULL), "FILE:1: there are no sections");
    refused(load(NULL, "uid = 1\n  [rbd]\n", NULL), "FILE:2: there are no sections");
    refused(load(NULL, "uid = 1\njust words\n", NULL), "FILE:2: this is not a line");
    refused(load(NULL, "uid = 1\nsize\n", NULL), "FILE:2: this is not a line");
    refused(load(NULL, "size =\n", NULL), "FILE:1: size: it has no value");
    refused(load(NULL, "config = /x\n", NULL), "FILE:1: config: there is no such option");
    /* a second line that is indented is a line, and no continuation */
    refused(load(NULL, "size = 1G\n  gid = x\n", NULL), "FILE:2: gid: 'x' is not");
    (void)snprintf(text, sizeof text, "uid = 1\npool = %0500d\n", 1);
    refused(load(NULL, text, NULL), "FILE:2: the line is longer");
    assert_int_equal(file_replace(path, "uid = 1\0size = x\n", 17, &err), 0);
    refused(config_load(1, LIST(flag), LIST(NULL), &c, &err), "FILE: there is a NUL byte");
}

static void other_mistakes(void **state)
{
    (void)state;
    refused(load(LIST("--size=12"), NULL, NULL), "--size: '12' is not a size");
    refused(load(LIST("--sise=1G"), NULL, NULL), "--sise: there is no such option");
    refused(load(LIST("--size"), NULL, NULL), "--size: it has no value: write --size=SIZE");
    refused(load(LIST("size=1G"), NULL, NULL), "'size=1G' is not an option");
    refused(load(LIST("--config"), NULL, NULL), "--config: ");
    refused(load(NULL, NULL, LIST("RBDVOL_SIZE=12")), "RBDVOL_SIZE: '12' is not a size");
    refused(load(NULL, NULL, LIST("RBDVOL_SISE=1G")), "RBDVOL_SISE: there is no such option");
    /* what is overridden is checked, too */
    refused(load(LIST("--size=2G"), "size = 12\n", NULL), "FILE:1: size: '12'");
    refused(load(LIST("--name=../../etc/x"), NULL, NULL), "--name: '../../etc/x' is not a name");
    refused(load(LIST("--size=2G", "--max-size=1G"), NULL, NULL), "--size: new volumes would be larger");
    refused(load(LIST("--mount-root=/srv/x", "--scratch-dir=/srv/x/y"), NULL, NULL),
            "--scratch-dir: it is inside mount-root");
    assert_int_equal(load(LIST("--mount-root=/srv/x", "--scratch-dir=/srv/xy"), NULL, NULL), 0);
    assert_int_equal(load(LIST("--config=/no/such.conf"), NULL, NULL), -ENOENT);
    assert_int_equal(load(NULL, NULL, LIST("RBDVOL_CONFIG=/no/such.conf")), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(nothing_is_set, each_tear_down),
        cmocka_unit_test_teardown(precedence, each_tear_down),
        cmocka_unit_test_teardown(dependent_defaults, each_tear_down),
        cmocka_unit_test_teardown(the_file_s_form, each_tear_down),
        cmocka_unit_test_teardown(the_file_s_mistakes, each_tear_down),
        cmocka_unit_test_teardown(other_mistakes, each_tear_down),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
