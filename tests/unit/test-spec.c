/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "volume/spec.h"

static void a_spec_is_read_as_it_was_written(void **state)
{
    struct spec s = { .fstype = "ext4",
                      .mkfs_options = "-m+1",
                      .mount_options = "noatime+data=journal",
                      .uid = 70,
                      .gid = 4294967294,
                      .mode = 02775,
                      .sharing = SHARING_HOST,
                      .fresh = true,
                      .formatting = true,
                      .remove = "delete" };
    auto_spec struct spec again = { 0 };
    struct error err;
    (void)state;
    auto_free char *text = spec_encode(&s);
    assert_int_equal(spec_decode(text, &again, &err), 0);
    assert_string_equal(again.fstype, s.fstype);
    assert_string_equal(again.mkfs_options, s.mkfs_options);
    assert_string_equal(again.mount_options, s.mount_options);
    assert_int_equal(again.uid, s.uid);
    assert_true(again.gid == s.gid);
    assert_int_equal(again.mode, s.mode);
    assert_int_equal(again.sharing, s.sharing);
    assert_true(again.fresh);
    assert_true(again.formatting);
    assert_string_equal(again.remove, "delete");
    assert_null(again.unknown);
    auto_free char *second = spec_encode(&again);
    assert_string_equal(second, text);
    s.formatting = false;
    auto_free char *done = spec_encode(&s);
    assert_null(strstr(done, "formatting"));
}

static void what_only_some_volumes_have_is_read_as_it_was_written(void **state)
{
    const struct spec s = { .fstype = "xfs",
                            .mode = 0755,
                            .adopt = true,
                            .ro = true,
                            .snapshot = true,
                            .new_uuid = true,
                            .from = "rbd/a@s",
                            .mapper = "fuse",
                            .qos_iops = 500,
                            .qos_bps = 1ULL << 40,
                            .encrypt = "db.key" };
    auto_spec struct spec again = { 0 };
    struct error err;
    (void)state;
    auto_free char *text = spec_encode(&s);
    if (spec_decode(text, &again, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(again.adopt && again.ro && again.snapshot && again.new_uuid);
    assert_string_equal(again.from, "rbd/a@s");
    assert_string_equal(again.mapper, "fuse");
    assert_string_equal(again.encrypt, "db.key");
    assert_int_equal(again.qos_iops, 500);
    assert_true(again.qos_bps == 1ULL << 40);
    assert_null(again.unknown);
    auto_free char *second = spec_encode(&again);
    assert_string_equal(second, text);
}

/* A snapshot's log cannot be replayed; a clone that has its source's identity still is mounted beside it. */
static void what_is_not_written_is_mounted_so(void **state)
{
    static const struct {
        const char *fstype, *stored, *words;
        bool snapshot, ro, new_uuid;
    } rows[] = {
        { "xfs", "noatime", "noatime,ro,norecovery,nouuid", true, true, false },
        { "xfs", "", "ro,norecovery,nouuid", true, true, false },
        { "ext4", "noatime+nodev", "noatime,nodev,ro,noload", true, true, false },
        { "btrfs", "", "ro,rescue=nologreplay", true, true, false },
        { "xfs", "noatime", "noatime,nouuid", false, false, true },
        { "xfs", "noatime", "noatime,nouuid,ro", false, true, true },
        { "ext4", "", "", false, false, true },
        { "ext4", "", "ro", false, true, false },
    };
    char buf[SPEC_WORDS_MAX + 1];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct spec s = { .snapshot = rows[i].snapshot, .ro = rows[i].ro, .new_uuid = rows[i].new_uuid };
        (void)snprintf(s.fstype, sizeof s.fstype, "%s", rows[i].fstype);
        (void)snprintf(s.mount_options, sizeof s.mount_options, "%s", rows[i].stored);
        assert_string_equal(spec_mount_words(&s, "", buf), rows[i].words);
    }
}

static void what_is_not_said_has_a_default(void **state)
{
    auto_spec struct spec s = { 0 };
    struct error err;
    (void)state;
    assert_int_equal(spec_decode("{\"version\":1,\"fstype\":\"xfs\"}", &s, &err), 0);
    assert_string_equal(s.mount_options, "");
    assert_int_equal(s.mode, 0755);
    assert_int_equal(s.sharing, SHARING_EXCLUSIVE);
    assert_false(s.fresh);
}

static void what_a_later_version_added_is_kept(void **state)
{
    auto_spec struct spec s = { 0 };
    struct error err;
    (void)state;
    assert_int_equal(
        spec_decode("{\"version\":1,\"fstype\":\"xfs\",\"fresh\":true,\"qos\":{\"iops\":[1,2.5,null]},"
                    "\"note\":\"\\u00e4\"}",
                    &s, &err),
        0);
    s.fresh = false;
    auto_free char *text = spec_encode(&s);
    assert_non_null(strstr(text, "\"qos\":{\"iops\":[1,2.5,null]}"));
    assert_non_null(strstr(text, "\"note\":\"\xc3\xa4\""));
    assert_non_null(strstr(text, "\"fresh\":false"));
    auto_spec struct spec again = { 0 };
    assert_int_equal(spec_decode(text, &again, &err), 0);
    assert_int_equal(json_object_size(again.unknown), 2);
}

static void a_newer_version_is_refused_and_says_so(void **state)
{
    struct spec s;
    struct error err;
    (void)state;
    assert_int_equal(spec_decode("{\"version\":2,\"fstype\":\"zfs\"}", &s, &err), -EPROTONOSUPPORT);
    assert_non_null(strstr(err.msg, "made by a newer rbdvol"));
    assert_non_null(strstr(err.msg, "update"));
}

static void what_this_program_would_not_have_written_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "x",
        "null",
        "[]",
        "\"xfs\"",
        "{}",
        "{\"fstype\":\"xfs\"}",
        "{\"version\":\"1\",\"fstype\":\"xfs\"}",
        "{\"version\":1.0,\"fstype\":\"xfs\"}",
        "{\"version\":0,\"fstype\":\"xfs\"}",
        "{\"version\":-1,\"fstype\":\"xfs\"}",
        "{\"version\":99999999999999999999,\"fstype\":\"xfs\"}",
        "{\"version\":1}",
        "{\"version\":1,\"version\":1,\"fstype\":\"xfs\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"fstype\":\"ext4\"}",
        "{\"version\":1,\"fstype\":\"xfs\"} x",
        "{\"version\":1,\"fstype\":null}",
        "{\"version\":1,\"fstype\":[\"xfs\"]}",
        "{\"version\":1,\"fstype\":\"\"}",
        "{\"version\":1,\"fstype\":\"XFS\"}",
        "{\"version\":1,\"fstype\":\"vfat\"}",
        "{\"version\":1,\"fstype\":\"../../bin/sh\"}",
        "{\"version\":1,\"fstype\":\"xfs\\u0000\"}",
        "{\"version\":1,\"fstype\":\"xfsxfsxfsxfsxfsxfs\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mount-options\":\"suid,dev\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mount-options\":\"logdev=/dev/sda\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mount-options\":\"noatime+\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mount-options\":7}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mount-options\":[\"noatime\"]}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mkfs-options\":\"/dev/sda\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mkfs-options\":\"-l+logdev=/dev/sda\"}",
        "{\"version\":1,\"fstype\":\"btrfs\",\"mkfs-options\":\"-r+/etc\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"uid\":-1}",
        "{\"version\":1,\"fstype\":\"xfs\",\"uid\":4294967295}",
        "{\"version\":1,\"fstype\":\"xfs\",\"uid\":\"0\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"uid\":0.5}",
        "{\"version\":1,\"fstype\":\"xfs\",\"uid\":true}",
        "{\"version\":1,\"fstype\":\"xfs\",\"gid\":99999999999}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mode\":4096}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mode\":\"0755\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"sharing\":\"all\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"sharing\":true}",
        "{\"version\":1,\"fstype\":\"xfs\",\"fresh\":\"yes\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"fresh\":1}",
        "{\"version\":1,\"fstype\":\"xfs\",\"formatting\":null}",
        "{\"version\":1,\"fstype\":\"xfs\",\"remove\":\"burn\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"remove\":1}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mapper\":\"ublk\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"mapper\":1}",
        "{\"version\":1,\"fstype\":\"xfs\",\"encrypt\":\"../shadow\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"encrypt\":[]}",
        "{\"version\":1,\"fstype\":\"xfs\",\"from\":{}}",
        "{\"version\":1,\"fstype\":\"xfs\",\"qos-iops\":-1}",
        "{\"version\":1,\"fstype\":\"xfs\",\"qos-iops\":\"5\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"qos-bps\":1.5}",
        "{\"version\":1,\"fstype\":\"xfs\",\"adopt\":1}",
        "{\"version\":1,\"fstype\":\"xfs\",\"ro\":\"\"}",
        "{\"version\":1,\"fstype\":\"xfs\",\"new-uuid\":0}",
        "{\"version\":1,\"fstype\":\"xfs\",\"snapshot\":null}",
        "{\"version\":1,\"fstype\":\"xfs\",\"snapshot\":true}",
        "{\"version\":1,\"fstype\":\"xfs\",\"snapshot\":true,\"ro\":false}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct spec s = { 0 };
        struct error err = { 0 };
        int rc = spec_decode(texts[i], &s, &err);
        if (rc != -EINVAL || !err.msg[0])
            fail_msg("%s: %d %s", texts[i], rc, err.msg);
    }
    auto_free char *long_options = calloc(1, 4096);
    (void)snprintf(long_options, 4096, "{\"version\":1,\"fstype\":\"xfs\",\"mount-options\":\"noatime");
    while (strlen(long_options) < 1000)
        (void)strcat(long_options, "+noatime");
    (void)strcat(long_options, "\"}");
    struct spec s;
    struct error err;
    assert_int_equal(spec_decode(long_options, &s, &err), -EINVAL);
}

static void the_hosts_defaults_are_words_joined_by_plus(void **state)
{
    static char xfs[] = "xfs", mkfs[] = "-m,reflink=0", words[] = "noatime,nodev+nosuid";
    const struct settings settings = { .fstype = xfs,
                                       .mkfs_options = mkfs,
                                       .mount_options = words,
                                       .uid = 5,
                                       .gid = 6,
                                       .mode = 0700,
                                       .sharing = SHARING_HOST };
    struct spec s;
    char buf[SPEC_WORDS_MAX + 1];
    (void)state;
    spec_default(&settings, &s);
    assert_string_equal(s.mkfs_options, "-m+reflink=0");
    assert_string_equal(s.mount_options, "noatime+nodev+nosuid");
    assert_int_equal(s.uid, 5);
    assert_int_equal(s.mode, 0700);
    assert_int_equal(s.sharing, SHARING_HOST);
    assert_false(s.fresh);
    assert_string_equal(spec_mount_words(&s, "", buf), "noatime,nodev,nosuid");
}

/* It may be an image that anybody with access to the pool has written. */
static void no_image_takes_from_a_host_what_it_guards_itself_with(void **state)
{
    static const struct {
        const char *stored, *host, *words;
    } rows[] = {
        { "", "noatime+nodev+nosuid", "nodev,nosuid" },
        { "noatime", "nodev,nosuid", "noatime,nodev,nosuid" },
        { "suid+dev", "nodev+nosuid", "suid,dev,nodev,nosuid" },
        { "nosuid+suid+nodev", "nodev+nosuid", "nosuid,suid,nodev,nosuid" },
        { "nosuid+nodev", "nodev+nosuid", "nosuid,nodev" },
        { "exec", "noexec", "exec,noexec" },
        { "suid", "nosuid+suid", "suid" },
        { "suid", "", "suid" },
        { "nosuid", "suid", "nosuid" },
    };
    char buf[SPEC_WORDS_MAX + 1];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct spec s = { .fstype = "ext4" };
        (void)snprintf(s.mount_options, sizeof s.mount_options, "%s", rows[i].stored);
        assert_string_equal(spec_mount_words(&s, rows[i].host, buf), rows[i].words);
    }
    assert_string_equal(spec_forbidden_word("noatime+suid", "nodev+nosuid"), "suid");
    assert_null(spec_forbidden_word("suid+nosuid", "nodev+nosuid"));
    assert_null(spec_forbidden_word("dev", "nosuid"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spec_is_read_as_it_was_written),
        cmocka_unit_test(what_is_not_said_has_a_default),
        cmocka_unit_test(what_only_some_volumes_have_is_read_as_it_was_written),
        cmocka_unit_test(what_is_not_written_is_mounted_so),
        cmocka_unit_test(what_a_later_version_added_is_kept),
        cmocka_unit_test(a_newer_version_is_refused_and_says_so),
        cmocka_unit_test(what_this_program_would_not_have_written_is_refused),
        cmocka_unit_test(the_hosts_defaults_are_words_joined_by_plus),
        cmocka_unit_test(no_image_takes_from_a_host_what_it_guards_itself_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
