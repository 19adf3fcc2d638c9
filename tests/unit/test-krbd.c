/* SPDX-License-Identifier: MIT */
/* The kernel's rbd driver, as a directory that looks like its sysfs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cmocka-headers.h"
#include "host/blockstat.h"
#include "host/krbd.h"
#include "host/mapping-record.h"

#define FSID "9cd2c3ce-441b-4862-b041-b421e9a1f8e6"

static char root[64];
static const struct image_name image_name = { "rbd", "", "db" };
static const unsigned char key[] = { 1, 0, 0, 0xff, 'k', 0, 'y' };

static int make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/test-krbd.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command); /* NOLINT(cert-env33-c): our own directory */
}

static void put(const char *file, const char *text)
{
    char path[PATH_MAX], dir[PATH_MAX];
    struct error err;
    (void)snprintf(path, sizeof path, "%s/%s", root, file);
    (void)snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(file_mkdirs(dir, 0755, &err), 0);
    assert_int_equal(file_replace(path, text, strlen(text), &err), 0);
}

static void put_device(unsigned number, const char *file, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "devices/%u/%s", number, file);
    put(path, text);
}

static void add_device(unsigned number, const char *image_id, const char *ns, const char *snap)
{
    put_device(number, "major", "254\n");
    put_device(number, "minor", number == 3 ? "48\n" : "0\n");
    put_device(number, "cluster_fsid", FSID "\n");
    put_device(number, "pool_id", "7\n");
    put_device(number, "pool_ns", ns);
    put_device(number, "image_id", image_id);
    put_device(number, "current_snap", snap);
    put_device(number, "client_addr", "10.77.0.10:0/545488498\n");
}

static void a_mapping_is_found_by_all_its_ids(void **state)
{
    struct krbd_device d;
    (void)state;
    assert_int_equal(krbd_find(root, FSID, 7, "", "10f", &d), 0); /* no such directory */
    add_device(0, "10f\n", "\n", "snap1\n");
    add_device(1, "10f\n", "tenant\n", "-\n");
    add_device(2, "20e\n", "\n", "-\n");
    assert_int_equal(krbd_find(root, FSID, 7, "", "10f", &d), 0);
    add_device(3, "10f\n", "\n", "-\n");
    assert_int_equal(krbd_find(root, FSID, 7, "", "10f", &d), 1);
    assert_int_equal(d.number, 3);
    assert_int_equal(d.major, 254);
    assert_int_equal(d.minor, 48);
    assert_string_equal(d.address, "10.77.0.10:0/545488498");
    assert_int_equal(krbd_find(root, FSID, 8, "", "10f", &d), 0);
    assert_int_equal(krbd_find(root, "9cd2c3ce-441b-4862-b041-b421e9a1f8e7", 7, "", "10f", &d), 0);
    assert_int_equal(krbd_find(root, FSID, 7, "tenant", "10f", &d), 1);
    assert_int_equal(d.number, 1);
}

static void a_kernel_without_namespaces_has_no_such_file(void **state)
{
    struct krbd_device d;
    char path[PATH_MAX];
    (void)state;
    add_device(0, "10f\n", "\n", "-\n");
    (void)snprintf(path, sizeof path, "%s/devices/0/pool_ns", root);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(krbd_find(root, FSID, 7, "", "10f", &d), 1);
}

/* So many more descriptors can be had, and no others; -1: any number again. */
static void leave_descriptors(int n)
{
    static struct rlimit all;
    if (!all.rlim_cur)
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct rlimit few = { (rlim_t)next + (rlim_t)n, all.rlim_max };
    if (next >= 0)
        (void)close(next);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, n < 0 ? &all : &few), 0);
}

static void what_could_not_be_looked_at_is_not_gone(void **state)
{
    struct krbd_device d;
    int read, found[2];
    (void)state;
    add_device(3, "10f\n", "\n", "-\n");
    leave_descriptors(0);
    read = krbd_read(root, 3, &d);
    found[0] = krbd_find(root, FSID, 7, "", "10f", &d);
    leave_descriptors(-1);
    leave_descriptors(1);
    found[1] = krbd_find(root, FSID, 7, "", "10f", &d);
    leave_descriptors(-1);
    assert_int_equal(read, -EMFILE);
    assert_int_equal(found[0], -EMFILE);
    assert_int_equal(found[1], -EMFILE);
}

static void half_a_mapping_is_none(void **state)
{
    struct krbd_device d;
    (void)state;
    add_device(0, "10f\n", "\n", "-\n");
    put_device(0, "pool_id", "x\n");
    assert_int_equal(krbd_read(root, 0, &d), -ENODEV);
    assert_int_equal(krbd_read(root, 9, &d), -ENODEV);
}

static void the_driver_may_not_be_there(void **state)
{
    struct error err;
    (void)state;
    assert_int_equal(krbd_check(root, NULL, 0, &err), -ENODEV);
    assert_non_null(strstr(err.msg, "modprobe rbd"));
    put("add", "");
    assert_int_equal(krbd_check(root, NULL, 0, &err), 0);
    assert_int_equal(krbd_check(root, &image_name, 1 | 64, &err), 0); /* too old to say what it takes */
}

static void the_message_has_the_command_that_takes_the_features_away(void **state)
{
    struct error err;
    const struct image_name tenant = { "rbd", "t1", "db" };
    (void)state;
    put("add_single_major", "");
    put("supported_features", "0x1bf\n");
    assert_int_equal(krbd_check(root, &image_name, 0x3d, &err), 0);
    assert_int_equal(krbd_check(root, &image_name, 0x7d, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.msg, "`rbd feature disable rbd/db journaling`"));
    put("supported_features", "0x7\n");
    assert_int_equal(krbd_check(root, &tenant, 0x3d, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.msg, "`rbd feature disable rbd/t1/db fast-diff object-map deep-flatten`"));
    put("supported_features", "0x1\n"); /* what stands on a feature goes with it */
    assert_int_equal(krbd_check(root, &image_name, 0x4d, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.msg, "`rbd feature disable rbd/db journaling object-map exclusive-lock`"));
    assert_int_equal(krbd_check(root, &image_name, 0x81, &err), -EOPNOTSUPP); /* nobody can take it away */
    assert_non_null(strstr(err.msg, "data-pool"));
    assert_null(strstr(err.msg, "rbd feature disable"));
    assert_int_equal(krbd_check(root, &image_name, 1ULL << 40, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.msg, "0x10000000000"));
}

static int line(struct mapper_image *image, const char *v2, const char *v1, enum krbd_protocol protocol,
                const char *options, char buf[static KRBD_LINE_MAX])
{
    struct error err;
    const struct mapper_cluster c = {
        .fsid = FSID, .pool_id = 7, .v2 = v2, .v1 = v1, .key = key, .key_len = sizeof key
    };
    image->cluster = &c;
    const struct krbd_line l = { .user = "rbdvol",
                                 .image = image,
                                 .lock_timeout = 20,
                                 .mount_timeout = 10,
                                 .map_options = options,
                                 .protocol = protocol };
    return krbd_line_make(&l, buf, &err);
}

static void the_line_is_exact(void **state)
{
    char buf[KRBD_LINE_MAX];
    const struct image_name tenant = { "pool", "t1", "db" };
    struct mapper_image image = { .name = &image_name, .id = "10f" };
    (void)state;
    assert_int_equal(line(&image, "10.0.0.1:3300,[fd00::1]:3300", "", KRBD_V2, "", buf), 0);
    assert_string_equal(buf, "10.0.0.1:3300,[fd00::1]:3300 name=rbdvol,key=client.rbdvol,noshare,"
                             "mount_timeout=10,exclusive,lock_timeout=20,ms_mode=prefer-crc rbd db -");
    assert_int_equal(line(&image, "", "10.0.0.1:6789", KRBD_V2, "", buf), -EPROTONOSUPPORT);
    assert_int_equal(line(&image, "", "10.0.0.1:6789", KRBD_V1, "", buf), 0);
    assert_string_equal(buf, "10.0.0.1:6789 name=rbdvol,key=client.rbdvol,noshare,mount_timeout=10,"
                             "exclusive,lock_timeout=20 rbd db -");
    image.name = &tenant;
    image.ro = true;
    assert_int_equal(line(&image, "[fd00::1]:3300", "", KRBD_V2, "queue_depth=64,ms_mode=secure,notrim", buf),
                     0);
    assert_string_equal(buf, "[fd00::1]:3300 name=rbdvol,key=client.rbdvol,noshare,mount_timeout=10,ro,"
                             "_pool_ns=t1,queue_depth=64,ms_mode=secure,notrim pool db -");
}

static void no_option_undoes_what_the_line_stands_for(void **state)
{
    static const char *const bad[] = { "osd_request_timeout=30",
                                       "share",
                                       "lock_on_read",
                                       "ro",
                                       "name=admin",
                                       "secret=x",
                                       "_pool_ns=other",
                                       "lock_timeout=1",
                                       "",
                                       "exclusive",
                                       "queue_depth=1 rbd other -",
                                       "queue_depth",
                                       "=",
                                       "notrimx" };
    char buf[KRBD_LINE_MAX];
    struct error err;
    struct mapper_image image = { .name = &image_name, .id = "10f" };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (strcmp(bad[i], "queue_depth") == 0)
            continue; /* the kernel says what it misses */
        assert_false(krbd_takes_option(bad[i]));
        assert_int_equal(line(&image, "10.0.0.1:3300", "", KRBD_V2, bad[i], buf), 0);
        assert_string_equal(buf, "10.0.0.1:3300 name=rbdvol,key=client.rbdvol,noshare,mount_timeout=10,"
                                 "exclusive,lock_timeout=20,ms_mode=prefer-crc rbd db -");
    }
    assert_int_equal(mapper_check_options("", &err), 0);
    assert_int_equal(mapper_check_options("queue_depth=64,nocrc", &err), 0);
    assert_int_equal(mapper_check_options("queue_depth=64,osd_request_timeout=9", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "'osd_request_timeout=9'"));
}

static void a_name_that_would_be_more_than_a_word_is_refused(void **state)
{
    char buf[KRBD_LINE_MAX];
    const struct image_name odd = { "rbd", "", "db other" };
    struct mapper_image image = { .name = &odd, .id = "10f" };
    (void)state;
    assert_int_equal(line(&image, "10.0.0.1:3300", "", KRBD_V2, "", buf), -EINVAL);
}

/* The child that writes: with a file, which takes what it is given. */
static void the_write_is_one_and_its_errno_comes_back(void **state)
{
    char file[96];
    struct error err;
    auto_free char *text = NULL;
    (void)state;
    put("remove", "");
    (void)snprintf(file, sizeof file, "%s/remove", root);
    struct krbd_write w = { .mapping = "0123456789abcdef", .file = file, .text = "17 force" };
    assert_int_equal(krbd_write(&w, clock_in_ms(10000), &err), 0);
    assert_int_equal(file_read(file, 100, &text, NULL, &err), 0);
    assert_string_equal(text, "17 force");
    w.file = root;
    assert_int_equal(krbd_write(&w, clock_in_ms(10000), &err), -EISDIR);
    w.file = "/dev/full";
    assert_int_equal(krbd_write(&w, clock_in_ms(10000), &err), -ENOSPC);
}

static void a_write_that_hangs_ends_at_its_deadline(void **state)
{
    pid_t pid;
    char fifo[96];
    struct error err;
    (void)state;
    (void)snprintf(fifo, sizeof fifo, "%s/fifo", root);
    assert_int_equal(mkfifo(fifo, 0600), 0); /* opening it waits for a reader */
    const struct krbd_write w = { .mapping = "0123456789abcdef", .file = fifo, .text = "17" };
    moment began = clock_now();
    assert_int_equal(krbd_write(&w, clock_in_ms(300), &err), -ETIMEDOUT);
    assert_in_range(clock_since_ms(began), 250, 5000);
    assert_int_equal(krbd_writer("0123456789abcdef", &pid), 0);
}

static void what_was_answered_is_told_from_what_was_not(void **state)
{
    struct mapping_health h = { 0 };
    (void)state;
    blockstat_parse("  10 1 8 5  20 2 16 7  3 40 50  4 0 64 2  6 9", &h);
    assert_true(h.counted);
    assert_int_equal(h.inflight, 3);
    assert_int_equal(h.answered, 10 + 20 + 4 + 6);
    blockstat_parse("10 1 8 5 20 2 16 7 3 40 50\n", &h); /* of an old kernel */
    assert_int_equal(h.inflight, 3);
    assert_int_equal(h.answered, 30);
    blockstat_parse("", &h);
    assert_int_equal(h.inflight, 0);
}

static bool take_record(void *arg, const struct mapping_record *r)
{
    *(struct mapping_record *)arg = *r;
    return false;
}

static void a_record_is_of_this_boot_or_none(void **state)
{
    struct error err;
    struct mapping_record found = { 0 }, r = { .mapping = "0123456789abcdef",
                                               .name = { "rbd", "t1", "db" },
                                               .image_id = "10f",
                                               .fsid = FSID,
                                               .pool_id = 7 };
    (void)state;
    assert_int_equal(mapping_record_read(root, "krbd", r.mapping, &found, &err), 0);
    assert_int_equal(mapping_record_write(root, "krbd", &r, &err), 0);
    assert_int_equal(mapping_record_read(root, "krbd", r.mapping, &found, &err), 1);
    assert_string_equal(found.name.ns, "t1");
    assert_int_equal(found.pool_id, 7);
    put("fedcba9876543210.krbd",
        "{\"version\":1,\"boot_id\":\"another\",\"pool\":\"rbd\",\"namespace\":\"\",\"image\":\"db\","
        "\"image_id\":\"1\",\"fsid\":\"f\",\"pool_id\":1,\"ro\":false}");
    put("fedcba9876543211.krbd.tmp", "{");
    put("0123456789abcdee.sock", "");
    memset(&found, 0, sizeof found);
    assert_int_equal(mapping_record_each(root, "krbd", take_record, &found, &err), 0);
    assert_string_equal(found.mapping, r.mapping);
    char tmp[PATH_MAX];
    (void)snprintf(tmp, sizeof tmp, "%s/fedcba9876543211.krbd.tmp", root);
    assert_int_equal(access(tmp, F_OK), 0); /* another thread may be writing it */
    assert_int_equal(mapping_record_sweep(root, "krbd", &err), 0);
    char path[PATH_MAX];
    static const char *const gone[] = { "fedcba9876543210.krbd", "fedcba9876543211.krbd.tmp" };
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", root, gone[i]);
        assert_int_equal(access(path, F_OK), -1);
    }
    (void)snprintf(path, sizeof path, "%s/0123456789abcdee.sock", root);
    assert_int_equal(access(path, F_OK), 0); /* another mapper's */
    mapping_record_remove(root, "krbd", r.mapping);
    assert_int_equal(mapping_record_read(root, "krbd", r.mapping, &found, &err), 0);
}

static void a_record_that_cannot_be_read_stays(void **state)
{
    struct error err;
    struct mapping_record found = { 0 }, r = { .mapping = "0123456789abcdef",
                                               .name = { "rbd", "", "db" },
                                               .image_id = "10f" };
    (void)state;
    assert_int_equal(mapping_record_write(root, "krbd", &r, &err), 0);
    leave_descriptors(1); /* the directory's */
    int each = mapping_record_each(root, "krbd", take_record, &found, &err);
    int sweep = mapping_record_sweep(root, "krbd", &err);
    leave_descriptors(-1);
    assert_int_equal(each, -EMFILE);
    assert_int_equal(sweep, -EMFILE);
    assert_int_equal(mapping_record_read(root, "krbd", r.mapping, &found, &err), 1);
    assert_int_equal(mapping_record_sweep(root, "krbd", &err), 0);
    assert_int_equal(mapping_record_read(root, "krbd", r.mapping, &found, &err), 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_mapping_is_found_by_all_its_ids),
        CASE(a_kernel_without_namespaces_has_no_such_file),
        CASE(what_could_not_be_looked_at_is_not_gone),
        CASE(half_a_mapping_is_none),
        CASE(the_driver_may_not_be_there),
        CASE(the_message_has_the_command_that_takes_the_features_away),
        CASE(the_line_is_exact),
        CASE(no_option_undoes_what_the_line_stands_for),
        CASE(a_name_that_would_be_more_than_a_word_is_refused),
        CASE(the_write_is_one_and_its_errno_comes_back),
        CASE(a_write_that_hangs_ends_at_its_deadline),
        cmocka_unit_test(what_was_answered_is_told_from_what_was_not),
        CASE(a_record_is_of_this_boot_or_none),
        CASE(a_record_that_cannot_be_read_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
