/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "volume/createopts.h"

#define GIB (1ULL << 30)
#define MIB (1ULL << 20)

static char none[] = "", xfs[] = "xfs", words[] = "noatime,nodev,nosuid";
static const struct settings defaults = {
    .ns = none, .fstype = xfs, .mkfs_options = none, .mount_options = words, .size = 20ULL << 30, .mode = 0755
};

static int parse(const struct settings *s, const char *name, const char *opts, struct createopts *ret,
                 struct error *err)
{
    struct volume_name n;
    json_auto_t *j = opts ? json_loads(opts, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    if (opts && !j)
        fail_msg("the test's own JSON: %s", opts);
    *err = (struct error){ 0 };
    assert_int_equal(name_parse(s, name, &n, err), 0);
    int rc = createopts_parse(s, &n, j, ret, err);
    return rc < 0 ? rc : createopts_check_new(s, ret, err);
}

static struct createopts good(const char *opts)
{
    struct createopts o;
    struct error err;
    if (parse(&defaults, "db", opts, &o, &err) < 0)
        fail_msg("%s: %s", opts, err.msg);
    return o;
}

static void bad(const struct settings *s, const char *name, const char *opts, const char *message)
{
    struct createopts o;
    struct error err;
    int rc = parse(s, name, opts, &o, &err);
    if (rc != -EINVAL || !strstr(err.msg, message))
        fail_msg("%s %s: %d %s, expected %s", name, opts, rc, err.msg, message);
}

static void without_options_it_is_what_the_host_says(void **state)
{
    static const char *const texts[] = { NULL, "null", "{}" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct createopts o = good(texts[i]);
        assert_int_equal(o.given, 0);
        assert_true(o.layout.size == 20 * GIB);
        assert_int_equal(o.layout.order, 0);
        assert_int_equal(o.layout.features, IMAGE_FEATURES_DEFAULT);
        assert_string_equal(o.data_pool, ""); /* layout points into the one that was parsed, o is a copy */
        assert_string_equal(o.spec.fstype, "xfs");
        assert_string_equal(o.spec.mount_options, "noatime+nodev+nosuid");
        assert_int_equal(o.spec.mode, 0755);
        assert_true(o.spec.fresh);
    }
    bad(&defaults, "db", "[]", "field Opts");
    bad(&defaults, "db", "\"size=1G\"", "field Opts");
    bad(&defaults, "db", "7", "field Opts");
}

static void sizes_have_units(void **state)
{
    (void)state;
    assert_true(good("{\"size\":\"5G\"}").layout.size == 5 * GIB);
    assert_true(good("{\"size\":\"5g\"}").layout.size == 5 * GIB);
    assert_true(good("{\"size\":\"512M\"}").layout.size == 512 * MIB);
    assert_true(good("{\"size\":\"2T\"}").layout.size == 2048 * GIB);
    assert_true(good("{\"size\":\"1048576K\"}").layout.size == GIB);
    static const char *const wrong[] = {
        "",           "0",   "0G", "-1G", "1.5G",  "1GB", "1P",
        "G",          " 1G", "x",  "1e3", "0x10G", "1 G", "99999999999999999999",
        "9000000000G"
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char opts[64];
        (void)snprintf(opts, sizeof opts, "{\"size\":\"%s\"}", wrong[i]);
        bad(&defaults, "db", opts, "option size");
    }
}

static void a_bare_size_means_what_the_operator_says(void **state)
{
    struct settings s = defaults;
    struct createopts o;
    struct error err;
    (void)state;
    assert_true(good("{\"size\":\"1024\"}").layout.size == GIB);
    bad(&defaults, "db", "{\"size\":\"100\"}", "write 100M or 100G");
    bad(&defaults, "db", "{\"size\":\"1023\"}", "write 1023M or 1023G");
    s.size_unit = GIB;
    assert_int_equal(parse(&s, "db", "{\"size\":\"5\"}", &o, &err), 0);
    assert_true(o.layout.size == 5 * GIB);
    assert_int_equal(parse(&s, "db", "{\"size\":\"512M\"}", &o, &err), 0);
    assert_true(o.layout.size == 512 * MIB);
    s.size_unit = MIB;
    assert_int_equal(parse(&s, "db", "{\"size\":\"512\"}", &o, &err), 0);
    assert_true(o.layout.size == 512 * MIB);
}

static void a_size_in_the_name_counts_and_must_not_contradict(void **state)
{
    struct createopts o;
    struct error err;
    (void)state;
    assert_int_equal(parse(&defaults, "db@512", NULL, &o, &err), 0);
    assert_true(o.layout.size == 512 * MIB);
    assert_int_equal(o.given, GIVEN_SIZE);
    assert_int_equal(parse(&defaults, "db@1024", "{\"size\":\"1G\"}", &o, &err), 0);
    bad(&defaults, "db@1024", "{\"size\":\"2G\"}", "contradicts the size behind '@'");
}

static void no_volume_is_beyond_the_hosts_limit_or_below_the_file_systems(void **state)
{
    struct settings s = defaults;
    struct createopts o;
    struct error err;
    (void)state;
    s.max_size = 20 * GIB;
    assert_int_equal(parse(&s, "db", NULL, &o, &err), 0);
    bad(&s, "db", "{\"size\":\"21G\"}", "21 GiB is more than max-size 20 GiB");
    bad(&s, "db@21G", NULL, "more than max-size");
    bad(&defaults, "db", "{\"size\":\"100M\"}", "fstype=ext4");
    assert_int_equal(parse(&defaults, "db", "{\"size\":\"100M\",\"fstype\":\"ext4\"}", &o, &err), 0);
    bad(&defaults, "db", "{\"size\":\"1M\",\"fstype\":\"ext4\"}", "too small for ext4");
    bad(&defaults, "db@100", NULL, "too small for xfs");
}

static void file_systems_and_their_options_are_checked(void **state)
{
    (void)state;
    struct createopts o =
        good("{\"fstype\":\"ext4\",\"mkfs-options\":\"-m+1\",\"mount-options\":\"data=journal\"}");
    assert_string_equal(o.spec.fstype, "ext4");
    assert_string_equal(o.spec.mkfs_options, "-m+1");
    assert_string_equal(o.spec.mount_options, "noatime+nodev+nosuid+data=journal");
    assert_int_equal(o.given, GIVEN_FSTYPE | GIVEN_MKFS | GIVEN_MOUNT);
    assert_string_equal(good("{\"mount-options\":\"\"}").spec.mount_options, "noatime+nodev+nosuid");
    bad(&defaults, "db", "{\"fstype\":\"zfs\"}", "option fstype: 'zfs' is not one of ext4, xfs, btrfs");
    bad(&defaults, "db", "{\"fstype\":\"\"}", "option fstype");
    bad(&defaults, "db", "{\"mkfs-options\":\"-m+1\"}", "option mkfs-options"); /* ext4's, not xfs' */
    bad(&defaults, "db", "{\"mkfs-options\":\"/dev/sda\"}", "option mkfs-options");
    bad(&defaults, "db", "{\"mount-options\":\"data=journal\"}", "option mount-options");
    bad(&defaults, "db", "{\"mount-options\":\"logdev=/dev/sda\"}", "option mount-options");
    bad(&defaults, "db", "{\"mount-options\":\"noatime,suid\"}", "option mount-options");
    bad(&defaults, "db", "{\"mount-options\":\"suid\"}", "which say 'nosuid'");
    bad(&defaults, "db", "{\"mount-options\":\"noatime+dev\"}", "which say 'nodev'");
    assert_string_equal(good("{\"mount-options\":\"exec\"}").spec.mount_options, "noatime+nodev+nosuid+exec");
    char opts[700];
    (void)snprintf(opts, sizeof opts, "{\"mount-options\":\"%0600d\"}", 0);
    bad(&defaults, "db", opts, "is too long");
    (void)snprintf(opts, sizeof opts, "{\"mkfs-options\":\"%0600d\"}", 0);
    bad(&defaults, "db", opts, "is too long");
}

static void the_hosts_mkfs_options_are_for_its_own_file_system(void **state)
{
    static char mkfs[] = "-m+reflink=0";
    struct settings s = defaults;
    struct createopts o;
    struct error err;
    (void)state;
    s.mkfs_options = mkfs;
    assert_int_equal(parse(&s, "db", NULL, &o, &err), 0);
    assert_string_equal(o.spec.mkfs_options, "-m+reflink=0");
    assert_int_equal(parse(&s, "db", "{\"fstype\":\"ext4\"}", &o, &err), 0);
    assert_string_equal(o.spec.mkfs_options, "");
}

static void numbers_and_modes_are_in_range(void **state)
{
    (void)state;
    struct createopts o = good("{\"uid\":\"70\",\"gid\":\"4294967294\",\"mode\":\"2770\"}");
    assert_int_equal(o.spec.uid, 70);
    assert_true(o.spec.gid == 4294967294);
    assert_int_equal(o.spec.mode, 02770);
    static const char *const wrong[] = { "",   "-1",  "+1",  "4294967295", "x",
                                         "1 ", "0x1", "1.0", "root",       "99999999999" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char opts[64];
        (void)snprintf(opts, sizeof opts, "{\"uid\":\"%s\"}", wrong[i]);
        bad(&defaults, "db", opts, "option uid");
        (void)snprintf(opts, sizeof opts, "{\"gid\":\"%s\"}", wrong[i]);
        bad(&defaults, "db", opts, "option gid");
    }
    static const char *const modes[] = { "", "8", "10000", "u+x", "-755", "0o755", "755 " };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        char opts[64];
        (void)snprintf(opts, sizeof opts, "{\"mode\":\"%s\"}", modes[i]);
        bad(&defaults, "db", opts, "option mode");
    }
    assert_int_equal(good("{\"sharing\":\"host\"}").spec.sharing, SHARING_HOST);
    assert_int_equal(good("{\"sharing\":\"exclusive\"}").spec.sharing, SHARING_EXCLUSIVE);
    bad(&defaults, "db", "{\"sharing\":\"all\"}", "option sharing");
}

static void layouts_are_powers_of_two_and_known_features(void **state)
{
    (void)state;
    assert_int_equal(good("{\"object-size\":\"4M\"}").layout.order, 22);
    assert_int_equal(good("{\"object-size\":\"4K\"}").layout.order, 12);
    assert_int_equal(good("{\"object-size\":\"32M\"}").layout.order, 25);
    assert_int_equal(good("{\"order\":\"23\"}").layout.order, 23);
    static const char *const sizes[] = { "", "4194304", "3M", "2K", "64M", "0", "-4M" };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char opts[64];
        (void)snprintf(opts, sizeof opts, "{\"object-size\":\"%s\"}", sizes[i]);
        bad(&defaults, "db", opts, "option object-size");
    }
    static const char *const orders[] = { "", "11", "26", "x", "22 " };
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        char opts[64];
        (void)snprintf(opts, sizeof opts, "{\"order\":\"%s\"}", orders[i]);
        bad(&defaults, "db", opts, "option order");
    }
    assert_int_equal(good("{\"features\":\"layering+exclusive-lock\"}").layout.features, 5);
    bad(&defaults, "db", "{\"features\":\"layering\"}", "option features");
    bad(&defaults, "db", "{\"features\":\"\"}", "option features");
    bad(&defaults, "db", "{\"features\":\"exclusive-lock+journaling\"}", "option features");
    struct createopts o = good("{\"data-pool\":\"ec\"}");
    assert_string_equal(o.data_pool, "ec");
    bad(&defaults, "db", "{\"data-pool\":\"a/b\"}", "option data-pool");
}

static void a_place_may_be_said_once(void **state)
{
    struct createopts o;
    struct error err;
    static char prod[] = "prod";
    struct settings s = defaults;
    (void)state;
    assert_int_equal(parse(&defaults, "db", "{\"pool\":\"ssd\",\"namespace\":\"a\"}", &o, &err), 0);
    assert_string_equal(o.name.image.pool, "ssd");
    assert_string_equal(o.name.image.ns, "a");
    assert_int_equal(parse(&defaults, "ssd/db", "{\"pool\":\"ssd\"}", &o, &err), 0);
    bad(&defaults, "ssd/db", "{\"pool\":\"hdd\"}", "contradicts the volume's name, which says 'ssd'");
    bad(&defaults, "ssd/a/db", "{\"namespace\":\"b\"}", "contradicts the volume's name, which says 'a'");
    s.ns = prod;
    assert_int_equal(parse(&s, "db", "{\"namespace\":\"b\"}", &o, &err), 0);
    assert_string_equal(o.name.image.ns, "b");
    bad(&defaults, "db", "{\"pool\":\"../x\"}", "option pool");
    bad(&defaults, "db", "{\"namespace\":\"\"}", "option namespace");
    char opts[200];
    (void)snprintf(opts, sizeof opts, "{\"pool\":\"%0129d\"}", 0);
    bad(&defaults, "db", opts, "option pool");
}

static void other_plugins_spellings_are_understood(void **state)
{
    (void)state;
    struct createopts o =
        good("{\"newfstype\":\"ext4\",\"mkfsOptions\":\"-m+1\",\"mountOptions\":\"discard\"}");
    assert_string_equal(o.spec.fstype, "ext4");
    assert_string_equal(o.spec.mkfs_options, "-m+1");
    assert_string_equal(o.spec.mount_options, "noatime+nodev+nosuid+discard");
}

static void spellings_of_one_option_must_not_contradict(void **state)
{
    static const struct {
        const char *opts, *names;
    } rows[] = {
        { "{\"fstype\":\"ext4\",\"newfstype\":\"xfs\"}", "options fstype and newfstype" },
        { "{\"newfstype\":\"xfs\",\"fstype\":\"ext4\"}", "options newfstype and fstype" },
        { "{\"mkfs-options\":\"-m+bigtime=1\",\"mkfsOptions\":\"-m+bigtime=0\"}",
          "options mkfs-options and mkfsOptions" },
        { "{\"mountOptions\":\"discard\",\"mount-options\":\"\"}", "options mountOptions and mount-options" },
        { "{\"order\":\"23\",\"object-size\":\"4M\"}", "options order and object-size" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bad(&defaults, "db", rows[i].opts, rows[i].names);
        bad(&defaults, "db", rows[i].opts, "contradict each other");
    }
    assert_int_equal(good("{\"order\":\"22\",\"object-size\":\"4M\"}").layout.order, 22);
    assert_string_equal(good("{\"newfstype\":\"ext4\",\"fstype\":\"ext4\"}").spec.fstype, "ext4");
}

static void a_volume_may_have_a_remove_policy_of_its_own(void **state)
{
    static const char *const all[] = { "trash", "delete", "rename", "ignore" };
    static const char *const wrong[] = { "", "Trash", "trash+delete", "zz", "deleted" };
    char opts[64];
    (void)state;
    assert_string_equal(good("{}").spec.remove, "");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        (void)snprintf(opts, sizeof opts, "{\"remove\":\"%s\"}", all[i]);
        struct createopts o = good(opts);
        assert_string_equal(o.spec.remove, all[i]);
        assert_int_equal(o.given, GIVEN_REMOVE);
        assert_true(o.given & GIVEN_NOTABLE);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        (void)snprintf(opts, sizeof opts, "{\"remove\":\"%s\"}", wrong[i]);
        bad(&defaults, "db", opts, "is not one of trash, delete, rename, ignore");
    }
    struct createopts o = good("{\"remove\":\"ignore\"}");
    struct image_header h = { .size = 1, .order = 22, .features = IMAGE_FEATURES_DEFAULT };
    struct spec have = { .fstype = "xfs" };
    struct error err;
    assert_int_equal(createopts_match(&o, &h, "", &have, &err), -EEXIST);
    assert_non_null(strstr(err.msg, "remove the host's, and ignore was asked for"));
    (void)snprintf(have.remove, sizeof have.remove, "ignore");
    assert_int_equal(createopts_match(&o, &h, "", &have, &err), 0);
}

static void what_is_unknown_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const unknown[] = { "sizes", "Size", "", "fsType", "a\\nb", "\\u00e4" };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        char opts[64];
        (void)snprintf(opts, sizeof opts, "{\"%s\":\"x\"}", unknown[i]);
        bad(&defaults, "db", opts,
            "known options: size, pool, namespace, fstype, mkfs-options, mount-options, uid, gid, mode, "
            "sharing, "
            "object-size, data-pool, features");
    }
    static const char *const values[] = { "5", "null", "true", "[]", "{}", "\"5G\\u0000\"" };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char opts[64];
        (void)snprintf(opts, sizeof opts, "{\"size\":%s}", values[i]);
        bad(&defaults, "db", opts, "option size: its value must be a text");
    }
}

static void limits_mappers_and_keys_are_names_and_numbers(void **state)
{
    (void)state;
    assert_int_equal(good("{\"qos-iops\":\"500\"}").spec.qos_iops, 500);
    assert_true(good("{\"qos-bps\":\"50M\"}").spec.qos_bps == 50 * MIB);
    assert_true(good("{\"qos-bps\":\"4096\"}").spec.qos_bps == 4096);
    assert_string_equal(good("{\"mapper\":\"nbd\"}").spec.mapper, "nbd");
    assert_string_equal(good("{\"encrypt\":\"db.key\"}").spec.encrypt, "db.key");
    static const struct {
        const char *opts, *message;
    } rows[] = {
        { "{\"qos-iops\":\"0\"}", "option qos-iops: '0' is not a number of requests" },
        { "{\"qos-iops\":\"5k\"}", "option qos-iops: '5k'" },
        { "{\"qos-iops\":\"4294967296\"}", "option qos-iops" },
        { "{\"qos-bps\":\"fast\"}", "option qos-bps: 'fast' is not a number of bytes" },
        { "{\"qos-bps\":\"0\"}", "option qos-bps" },
        { "{\"mapper\":\"ublk\"}", "option mapper: 'ublk' is not one of auto, krbd, nbd, fuse" },
        { "{\"mapper\":\"\"}", "option mapper" },
        { "{\"encrypt\":\"../shadow\"}", "option encrypt: '../shadow' is no name of a file in key-dir" },
        { "{\"encrypt\":\".hidden\"}", "option encrypt" },
        { "{\"encrypt\":\"\"}", "option encrypt" },
        { "{\"ro\":\"maybe\"}", "option ro: 'maybe' is neither true nor false" },
        { "{\"from\":\"db@\"}", "option from: 'db@' is not IMAGE or IMAGE@SNAPSHOT" },
        { "{\"from\":\"db@a@b\"}", "option from: 'db@a@b'" },
        { "{\"from\":\"a/b/c/d\"}", "option from: " },
        { "{\"from\":\"\"}", "option from: " },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        bad(&defaults, "db", rows[i].opts, rows[i].message);
}

static void what_has_no_meaning_together_is_refused(void **state)
{
    static const struct {
        const char *opts, *message; /* NULL: it is fine */
    } rows[] = {
        { "{\"from\":\"a@s\",\"fstype\":\"xfs\"}", "option from: a clone has the file system of its source" },
        { "{\"from\":\"a@s\",\"mkfs-options\":\"-K\"}", "option from: a clone has the file system" },
        { "{\"from\":\"a@s\",\"uid\":\"5\"}", "option from: a clone has the files of its source" },
        { "{\"from\":\"a@s\",\"mode\":\"700\"}", "option from: a clone has the files of its source" },
        { "{\"from\":\"a@s\",\"encrypt\":\"k\"}", "option from: a clone is encrypted as its source is" },
        { "{\"ro\":\"yes\"}", "option ro: a new volume that nobody can write is of no use" },
        { "{\"ro\":\"\",\"from\":\"a@s\",\"size\":\"5G\"}", "option size: a snapshot has the size" },
        { "{\"ro\":\"true\",\"from\":\"a@s\",\"mapper\":\"nbd\"}",
          "by fuse alone, since nbd leaves no trace" },
        { "{\"mapper\":\"krbd\",\"qos-iops\":\"5\"}", "option mapper: krbd cannot limit I/O" },
        { "{\"mapper\":\"krbd\",\"qos-bps\":\"5M\"}", "option mapper: krbd cannot limit I/O" },
        { "{\"mapper\":\"krbd\",\"encrypt\":\"k\"}", "is mapped by fuse alone, not by krbd" },
        { "{\"mapper\":\"nbd\",\"encrypt\":\"k\"}", "is mapped by fuse alone, not by nbd" },
        { "{\"mapper\":\"nbd\",\"qos-iops\":\"5\"}", NULL },
        { "{\"mapper\":\"auto\",\"encrypt\":\"k\"}", NULL },
        { "{\"mapper\":\"fuse\",\"encrypt\":\"k\"}", NULL },
        { "{\"ro\":\"no\"}", NULL },
        { "{\"ro\":\"true\",\"from\":\"a@s\",\"mapper\":\"fuse\"}", NULL },
        { "{\"from\":\"a@s\",\"size\":\"5G\"}", NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].message)
            bad(&defaults, "db", rows[i].opts, rows[i].message);
        else
            (void)good(rows[i].opts);
}

static void a_clone_is_not_beyond_the_hosts_limit_either(void **state)
{
    struct settings s = defaults;
    struct createopts o;
    struct error err;
    (void)state;
    s.max_size = 10 * GIB; /* the host's own size is not what a clone gets */
    assert_int_equal(parse(&s, "db", "{\"from\":\"a@s\"}", &o, &err), 0);
    assert_int_equal(parse(&s, "db", "{\"from\":\"a@s\",\"size\":\"10G\"}", &o, &err), 0);
    bad(&s, "db", "{\"from\":\"a@s\",\"size\":\"11G\"}", "11 GiB is more than max-size 10 GiB");
}

/* What encrypts it takes 16 MiB at least, in whole objects. */
static void an_encrypted_volume_has_less_room(void **state)
{
    (void)state;
    (void)good("{\"size\":\"300M\"}");
    bad(&defaults, "db", "{\"size\":\"300M\",\"encrypt\":\"k\"}", "size");
    (void)good("{\"size\":\"316M\",\"encrypt\":\"k\"}");
    bad(&defaults, "db", "{\"size\":\"316M\",\"encrypt\":\"k\",\"object-size\":\"32M\"}", "size");
    (void)good("{\"size\":\"332M\",\"encrypt\":\"k\",\"object-size\":\"32M\"}");
    bad(&defaults, "db", "{\"size\":\"16M\",\"encrypt\":\"k\"}", "size");
}

/* ---- what is there already ---- */

static const struct image_header image = { .size = 10ULL << 30,
                                           .order = 22,
                                           .features = IMAGE_FEATURES_DEFAULT };

static int match(const char *opts, const char *data_pool, const struct spec *spec, struct error *err)
{
    static const struct volume_name name = { .image = { .pool = "rbd", .image = "db" } };
    struct createopts o;
    json_auto_t *j = opts ? json_loads(opts, 0, NULL) : NULL;
    if (createopts_parse(&defaults, &name, j, &o, err) < 0)
        fail_msg("%s: %s", opts, err->msg);
    return createopts_match(&o, &image, data_pool, spec, err);
}

static void only_what_was_given_is_compared(void **state)
{
    static const struct spec spec = { .fstype = "ext4",
                                      .mkfs_options = "-m+1",
                                      .mount_options = "noatime+nodev+nosuid+discard",
                                      .uid = 70,
                                      .gid = 71,
                                      .mode = 0700,
                                      .sharing = SHARING_HOST };
    static const struct {
        const char *opts, *message; /* NULL: it matches */
    } rows[] = {
        { NULL, NULL },
        { "{\"size\":\"10G\"}", NULL },
        { "{\"size\":\"1G\"}", NULL }, /* it may have been grown */
        { "{\"size\":\"11G\"}", "with size 10 GiB, and 11 GiB was asked for" },
        { "{\"object-size\":\"4M\"}", NULL },
        { "{\"object-size\":\"8M\"}", "with object-size 4 MiB, and 8 MiB was asked for" },
        { "{\"features\":\"layering+exclusive-lock\"}", "and layering+exclusive-lock was asked for" },
        { "{\"fstype\":\"ext4\"}", NULL },
        { "{\"fstype\":\"xfs\"}", "with fstype ext4, and xfs was asked for" },
        { "{\"fstype\":\"ext4\",\"mkfs-options\":\"-m+1\"}", NULL },
        { "{\"fstype\":\"ext4\",\"mkfs-options\":\"-m+2\"}",
          "with mkfs-options -m+1, and -m+2 was asked for" },
        { "{\"mount-options\":\"discard\"}", NULL },
        { "{\"mount-options\":\"nodiscard\"}", "with mount-options" },
        { "{\"uid\":\"70\",\"gid\":\"71\",\"mode\":\"700\",\"sharing\":\"host\"}", NULL },
        { "{\"uid\":\"0\"}", "with uid 70, and 0 was asked for" },
        { "{\"gid\":\"0\"}", "with gid 71, and 0 was asked for" },
        { "{\"mode\":\"755\"}", "with mode 0700, and 0755 was asked for" },
        { "{\"sharing\":\"exclusive\"}", "with sharing host, and exclusive was asked for" },
        /* what could not be made with the host's xfs may well be there */
        { "{\"size\":\"100M\"}", NULL },
        { "{\"mkfs-options\":\"-m+1\"}", NULL },
        { "{\"data-pool\":\"rbd\"}", NULL },
        { "{\"data-pool\":\"ec\"}", "with data-pool rbd, and ec was asked for" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = { 0 };
        int rc = match(rows[i].opts, "", &spec, &err);
        if (rc != (rows[i].message ? -EEXIST : 0) || (rows[i].message && !strstr(err.msg, rows[i].message)))
            fail_msg("%s: %d %s", rows[i].opts, rc, err.msg);
    }
}

static void of_an_image_made_by_others_only_size_and_layout_are_known(void **state)
{
    struct error err;
    (void)state;
    assert_int_equal(match("{\"fstype\":\"btrfs\",\"uid\":\"5\"}", "", NULL, &err), 0);
    assert_int_equal(match("{\"size\":\"11G\"}", "", NULL, &err), -EEXIST);
    assert_int_equal(match("{\"order\":\"20\"}", "", NULL, &err), -EEXIST);
}

static void a_data_pool_is_compared(void **state)
{
    struct error err;
    (void)state;
    assert_int_equal(match(NULL, "ec", NULL, &err), 0);
    assert_int_equal(match("{\"data-pool\":\"ec\"}", "ec", NULL, &err), 0);
    assert_int_equal(match("{\"data-pool\":\"rbd\"}", "ec", NULL, &err), -EEXIST);
    assert_non_null(strstr(err.msg, "with data-pool ec, and rbd was asked for"));
}

static void how_it_is_used_is_compared(void **state)
{
    static const struct spec spec = { .fstype = "xfs",
                                      .ro = true,
                                      .snapshot = true,
                                      .mapper = "fuse",
                                      .remove = "delete",
                                      .encrypt = "k",
                                      .qos_iops = 500,
                                      .qos_bps = 1 << 20,
                                      .from = "rbd/a@s" },
                             plain = { .fstype = "xfs" };
    static const struct {
        const char *opts, *message, *of_plain; /* NULL: it matches */
    } rows[] = {
        { "{\"ro\":\"\"}", NULL, "with ro false, and true was asked for" },
        { "{\"ro\":\"false\"}", "with ro true, and false was asked for", NULL },
        { "{\"mapper\":\"fuse\"}", NULL, "with mapper the host's, and fuse was asked for" },
        { "{\"mapper\":\"nbd\"}", "with mapper fuse, and nbd was asked for",
          "with mapper the host's, and nbd" },
        { "{\"remove\":\"delete\"}", NULL, "with remove the host's, and delete was asked for" },
        { "{\"remove\":\"trash\"}", "with remove delete, and trash", "with remove the host's, and trash" },
        { "{\"encrypt\":\"k\"}", NULL, "with encrypt no encryption, and k was asked for" },
        { "{\"encrypt\":\"other\"}", "with encrypt k, and other was asked for", "no encryption, and other" },
        { "{\"qos-iops\":\"500\"}", NULL, "with qos-iops 0, and 500 was asked for" },
        { "{\"qos-iops\":\"5\"}", "with qos-iops 500, and 5 was asked for", "with qos-iops 0, and 5" },
        { "{\"qos-bps\":\"1M\"}", NULL, "with qos-bps 0, and 1048576 was asked for" },
        { "{\"from\":\"a@s\"}", NULL, "with from no source, and rbd/a@s was asked for" },
        { "{\"from\":\"rbd/a@s\"}", NULL, "with from no source, and rbd/a@s was asked for" },
        { "{\"from\":\"a\"}", "with from rbd/a@s, and rbd/a was asked for", "with from no source" },
        { "{\"from\":\"a@t\"}", "with from rbd/a@s, and rbd/a@t was asked for", "with from no source" },
        { "{\"from\":\"ssd/a@s\"}", "with from rbd/a@s, and ssd/a@s was asked for", "with from no source" },
    };
    (void)state;
    for (size_t i = 0; i < 2 * (sizeof rows / sizeof *rows); i++) {
        struct error err = { 0 };
        const char *message = i & 1 ? rows[i / 2].of_plain : rows[i / 2].message;
        int rc = match(rows[i / 2].opts, "", i & 1 ? &plain : &spec, &err);
        if (rc != (message ? -EEXIST : 0) || (message && !strstr(err.msg, message)))
            fail_msg("%s: %d %s", rows[i / 2].opts, rc, err.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_options_it_is_what_the_host_says),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(a_bare_size_means_what_the_operator_says),
        cmocka_unit_test(a_size_in_the_name_counts_and_must_not_contradict),
        cmocka_unit_test(no_volume_is_beyond_the_hosts_limit_or_below_the_file_systems),
        cmocka_unit_test(file_systems_and_their_options_are_checked),
        cmocka_unit_test(the_hosts_mkfs_options_are_for_its_own_file_system),
        cmocka_unit_test(numbers_and_modes_are_in_range),
        cmocka_unit_test(layouts_are_powers_of_two_and_known_features),
        cmocka_unit_test(a_place_may_be_said_once),
        cmocka_unit_test(other_plugins_spellings_are_understood),
        cmocka_unit_test(a_volume_may_have_a_remove_policy_of_its_own),
        cmocka_unit_test(what_is_unknown_is_refused_by_name),
        cmocka_unit_test(only_what_was_given_is_compared),
        cmocka_unit_test(of_an_image_made_by_others_only_size_and_layout_are_known),
        cmocka_unit_test(a_data_pool_is_compared),
        cmocka_unit_test(limits_mappers_and_keys_are_names_and_numbers),
        cmocka_unit_test(what_has_no_meaning_together_is_refused),
        cmocka_unit_test(a_clone_is_not_beyond_the_hosts_limit_either),
        cmocka_unit_test(an_encrypted_volume_has_less_room),
        cmocka_unit_test(how_it_is_used_is_compared),
        cmocka_unit_test(spellings_of_one_option_must_not_contradict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
