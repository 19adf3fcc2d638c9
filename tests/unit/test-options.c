/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmocka-headers.h"
#include "main/config.h"
#include "main/options.h"

static struct settings s;
static struct error err;

static int tear_down(void **state)
{
    (void)state;
    settings_free(&s);
    return 0;
}

static int put(const char *name, const char *value)
{
    const struct option_row *row = option_find(name);
    assert_non_null(row);
    return option_set(row, value, &s, &err);
}

static void the_table_is_whole(void **state)
{
    char variable[64];
    (void)state;
    assert_in_range(options_count, 30, CONFIG_OPTIONS_MAX);
    for (size_t i = 0; i < options_count; i++) {
        const struct option_row *o = &options[i];
        assert_ptr_equal(option_find(o->name), o); /* no name twice */
        assert_non_null(o->set);
        assert_true(*o->preset || o->none); /* an option without a default says what that means */
        assert_true(*o->meaning && o->meaning[strlen(o->meaning) - 1] != '.');
        assert_int_equal(option_preset(o, &s, &err), 0);
    }
    assert_string_equal(option_variable(option_find("socket-mode"), variable, sizeof variable),
                        "RBDVOL_SOCKET_MODE");
    assert_null(option_find("nonsense"));
}

static void defaults(void **state)
{
    (void)state;
    for (size_t i = 0; i < options_count; i++)
        assert_int_equal(option_preset(&options[i], &s, &err), 0);
    assert_string_equal(s.name, "rbd");
    assert_string_equal(s.socket, "/run/docker/plugins/rbd.sock");
    assert_int_equal(s.socket_mode, 0600);
    assert_string_equal(s.socket_group, "root");
    assert_string_equal(s.ceph_conf, "/etc/ceph/ceph.conf");
    assert_string_equal(s.user, "rbdvol");
    assert_int_equal(s.npools, 1);
    assert_string_equal(s.pools[0], "rbd");
    assert_string_equal(s.ns, "");
    assert_string_equal(s.mount_root, "/var/lib/rbdvol/rbd/mnt");
    assert_string_equal(s.state_dir, "/run/rbdvol/rbd");
    assert_string_equal(s.scratch_dir, "/var/lib/rbdvol/rbd/scratch");
    assert_int_equal(s.max_size, 0);
    assert_int_equal(s.size, 20ULL << 30);
    assert_int_equal(s.size_unit, 0);
    assert_true(s.create);
    assert_string_equal(s.fstype, "xfs");
    assert_string_equal(s.mkfs_options, "");
    assert_string_equal(s.mount_options, "noatime+nodev+nosuid");
    assert_int_equal(s.mode, 0755);
    assert_int_equal(s.remove, REMOVE_TRASH);
    assert_int_equal(s.trash_keep_ms, 7 * 86400000);
    assert_int_equal(s.trash_keep_anon_ms, 3600000);
    assert_int_equal(s.sharing, SHARING_EXCLUSIVE);
    assert_int_equal(s.ceph_timeout_ms, 10000);
    assert_int_equal(s.budget_ms, 100000);
    assert_string_equal(s.metrics_listen, "");
    assert_int_equal(s.log_level, LOG_LEVEL_INFO);
}

/* name, value, and what the refusal must say; NULL: it is taken */
static const struct {
    const char *name, *value, *refusal;
} values[] = {
    { "name", "rbd2", NULL },
    { "name", "a/b", "is not a name" },
    { "name", "..", "is not a name" },
    { "name", "x23456789012345678901234567890123", "longer than 32" },
    { "name", "", "has no value" },
    { "socket", "/run/x.sock", NULL },
    { "socket", "x.sock", "not an absolute path" },
    { "socket",
      "/01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
      "12345678901234",
      "longer than" },
    { "socket-mode", "0660", NULL },
    { "socket-mode", "4755", "setuid" },
    { "socket-mode", "rw", "not a mode" },
    { "mount-root", "/srv/volumes", NULL },
    { "mount-root", "/", "not a plain path" },
    { "mount-root", "/srv/../etc", "not a plain path" },
    { "mount-root", "/srv//x", "not a plain path" },
    { "mount-root", "/srv/", "not a plain path" },
    { "mount-root", "/srv/..", "not a plain path" },
    { "mount-root", "/srv/a\nb", "control character" },
    { "pool", "a", NULL },
    { "pool", "a,b c\td , e", NULL },
    { "pool", "", "has no value" },
    { "pool", " , ", "no pool is named" },
    { "pool", "a,b,a", "named twice" },
    { "pool", "a/b", "not a pool name" },
    { "pool", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", NULL },
    { "pool", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "more than 16" },
    { "namespace", "", NULL },
    { "namespace", "a b", "is not a name" },
    { "max-size", "1T", NULL },
    { "max-size", "", NULL },
    { "max-size", "0", "is not a size" },
    { "size", "12", "is not a size" },
    { "size", "", "has no value" },
    { "size-unit", "M", NULL },
    { "size-unit", "", NULL },
    { "size-unit", "K", "is not M or G" },
    { "mapper", "fuse", NULL },
    { "mapper", "krbd", NULL },
    { "mapper", "nbd", NULL },
    { "mapper", "ublk", "none of: auto, krbd, nbd, fuse" },
    { "create", "no", NULL },
    { "create", "maybe", "is not yes or no" },
    { "fstype", "btrfs", NULL },
    { "fstype", "zfs", "none of: xfs, ext4, btrfs" },
    { "mount-options", "noatime,discard", NULL },
    { "mount-options", "noatime discard", "has a blank" },
    { "uid", "4294967294", NULL },
    { "uid", "4294967295", "not a numeric id" },
    { "uid", "root", "not a numeric id" },
    { "mode", "2770", NULL },
    { "mode", "99", "not a mode" },
    { "remove", "delete", NULL },
    { "remove", "Trash", "none of: trash, delete" },
    { "sharing", "host", NULL },
    { "legacy-images", "refuse", NULL },
    { "takeover", "silent", NULL },
    { "ceph-timeout", "2s", NULL },
    { "ceph-timeout", "2", "is not a duration" },
    { "ceph-timeout", "0s", "is not between" },
    { "budget", "25s", NULL },
    { "budget", "5m", "Docker gives up" },
    { "io-stuck-action", "error", NULL },
    { "metrics-listen", "127.0.0.1:9188", NULL },
    { "metrics-listen", "[::1]:9188", NULL },
    { "metrics-listen", "0.0.0.0:9188", "loopback" },
    { "metrics-listen", "127.example.com:80", "loopback" },
    { "metrics-listen", "127.0.0.1", "loopback" },
    { "metrics-listen", "127.0.0.1:0", "loopback" },
    { "metrics-listen", "127.0.0.1:70000", "loopback" },
    { "log-level", "debug", NULL },
    { "log-level", "verbose", "none of: error" },
};

static void checks_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        int rc = put(values[i].name, values[i].value);
        if (rc != (values[i].refusal ? -EINVAL : 0) ||
            (values[i].refusal && !strstr(err.msg, values[i].refusal)))
            fail_msg("%s = %s: %d %s", values[i].name, values[i].value, rc, rc ? err.msg : "");
    }
}

static void takes_values(void **state)
{
    (void)state;
    assert_int_equal(put("pool", " ssd, rbd "), 0);
    assert_int_equal(s.npools, 2);
    assert_string_equal(s.pools[0], "ssd");
    assert_string_equal(s.pools[1], "rbd");
    assert_int_equal(put("pool", "a,a"), -EINVAL);
    assert_int_equal(s.npools, 2); /* a refused value changes nothing */
    assert_int_equal(put("pool", "one"), 0);
    assert_int_equal(s.npools, 1);
    assert_int_equal(put("mount-options", "noatime,discard"), 0);
    assert_string_equal(s.mount_options, "noatime+discard");
    assert_int_equal(put("size-unit", "G"), 0);
    assert_int_equal(s.size_unit, 1 << 30);
    assert_int_equal(put("remove", "delete"), 0);
    assert_int_equal(s.remove, REMOVE_DELETE);
    assert_int_equal(put("takeover", "never"), 0);
    assert_int_equal(s.takeover, TAKEOVER_NEVER);
    assert_int_equal(put("trash-keep", "2h"), 0);
    assert_int_equal(s.trash_keep_ms, 7200000);
    assert_int_equal(s.trash_keep_anon_ms, 7200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_table_is_whole, tear_down),
        cmocka_unit_test_teardown(defaults, tear_down),
        cmocka_unit_test_teardown(checks_values, tear_down),
        cmocka_unit_test_teardown(takes_values, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
