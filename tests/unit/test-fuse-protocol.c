/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

#include "cmocka-headers.h"
#include "mapper/fuse.h"

#define UNIQUE 77

static char packet[FUSE_REQUEST_MAX + 64];

/* A request as the kernel would send it: header, arguments, payload. Returns its length. */
static size_t build(uint32_t opcode, const void *arg, size_t arg_len, size_t payload)
{
    size_t len = sizeof(struct fuse_in_header) + arg_len + payload;
    struct fuse_in_header head = { .len = (uint32_t)len, .opcode = opcode, .unique = UNIQUE, .nodeid = 1 };
    assert_true(len <= sizeof packet);
    memset(packet, 'p', sizeof packet);
    memcpy(packet, &head, sizeof head);
    if (arg_len)
        memcpy(packet + sizeof head, arg, arg_len);
    return len;
}

static struct fuse_request decode(size_t len)
{
    struct fuse_request req;
    assert_int_equal(fuse_request_decode(packet, len, &req), 0);
    assert_int_equal(req.unique, UNIQUE);
    return req;
}

static void assert_refused(size_t len, int error)
{
    struct fuse_request req = decode(len);
    assert_int_equal(req.wants, FUSE_WANTS_ERROR);
    assert_int_equal(req.error, error);
}

static void decodes_a_read(void **state)
{
    struct fuse_read_in in = { .offset = 4096, .size = FUSE_IO_MAX };
    (void)state;
    struct fuse_request req = decode(build(FUSE_READ, &in, sizeof in, 0));
    assert_int_equal(req.wants, FUSE_WANTS_READ);
    assert_int_equal(req.offset, 4096);
    assert_int_equal(req.length, FUSE_IO_MAX);
}

static void refuses_a_bad_read(void **state)
{
    struct fuse_read_in in = { .offset = 0, .size = FUSE_IO_MAX + 1 };
    (void)state;
    assert_refused(build(FUSE_READ, &in, sizeof in, 0), EINVAL);
    in = (struct fuse_read_in){ .offset = INT64_MAX, .size = 1 };
    assert_refused(build(FUSE_READ, &in, sizeof in, 0), EINVAL);
    in = (struct fuse_read_in){ .offset = UINT64_MAX, .size = 4096 };
    assert_refused(build(FUSE_READ, &in, sizeof in, 0), EINVAL);
    in = (struct fuse_read_in){ .size = 4096 };
    assert_refused(build(FUSE_READ, &in, sizeof in - 1, 0), EINVAL);
}

static void decodes_a_write(void **state)
{
    static const size_t sizes[] = { 0, 1, 4096, FUSE_IO_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct fuse_write_in in = { .offset = 512, .size = (uint32_t)sizes[i] };
        size_t len = build(FUSE_WRITE, &in, sizeof in, sizes[i]);
        struct fuse_request req = decode(len);
        assert_int_equal(req.wants, FUSE_WANTS_WRITE);
        assert_int_equal(req.offset, 512);
        assert_int_equal(req.length, sizes[i]);
        assert_int_equal(req.data + req.length, len);
    }
}

static void refuses_a_write_that_lies(void **state)
{
    struct fuse_write_in in = { .size = 4096 };
    (void)state;
    assert_refused(build(FUSE_WRITE, &in, sizeof in, 4095), EINVAL);
    assert_refused(build(FUSE_WRITE, &in, sizeof in, 4097), EINVAL);
    assert_refused(build(FUSE_WRITE, &in, sizeof in, 0), EINVAL);
    assert_refused(build(FUSE_WRITE, &in, sizeof in - 8, 0), EINVAL);
    in.size = UINT32_MAX;
    assert_refused(build(FUSE_WRITE, &in, sizeof in, 4096), EINVAL);
    in.size = FUSE_IO_MAX + 1;
    assert_refused(build(FUSE_WRITE, &in, sizeof in, FUSE_IO_MAX + 1), EINVAL);
    in = (struct fuse_write_in){ .offset = INT64_MAX - 100, .size = 4096 };
    assert_refused(build(FUSE_WRITE, &in, sizeof in, 4096), EINVAL);
}

static void decodes_fallocate(void **state)
{
    static const struct {
        uint32_t mode;
        int error;
    } cases[] = {
        { FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0 },
        { FALLOC_FL_ZERO_RANGE, 0 },
        { FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0 },
        { 0, EOPNOTSUPP },
        { FALLOC_FL_KEEP_SIZE, EOPNOTSUPP },
        { FALLOC_FL_PUNCH_HOLE, EOPNOTSUPP },
        { FALLOC_FL_COLLAPSE_RANGE, EOPNOTSUPP },
        { FALLOC_FL_INSERT_RANGE, EOPNOTSUPP },
        { FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, EOPNOTSUPP },
        { UINT32_MAX, EOPNOTSUPP },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fuse_fallocate_in in = { .offset = 65536, .length = 1ULL << 40, .mode = cases[i].mode };
        size_t len = build(FUSE_FALLOCATE, &in, sizeof in, 0);
        if (cases[i].error) {
            assert_refused(len, cases[i].error);
            continue;
        }
        struct fuse_request req = decode(len);
        assert_int_equal(req.wants, FUSE_WANTS_ZERO);
        assert_int_equal(req.offset, 65536);
        assert_int_equal(req.length, 1ULL << 40);
    }
}

static void refuses_a_bad_fallocate(void **state)
{
    struct fuse_fallocate_in in = { .mode = FALLOC_FL_ZERO_RANGE };
    (void)state;
    assert_refused(build(FUSE_FALLOCATE, &in, sizeof in, 0), EINVAL);
    in.length = UINT64_MAX;
    assert_refused(build(FUSE_FALLOCATE, &in, sizeof in, 0), EINVAL);
    in = (struct fuse_fallocate_in){ .mode = FALLOC_FL_ZERO_RANGE, .offset = 1, .length = INT64_MAX };
    assert_refused(build(FUSE_FALLOCATE, &in, sizeof in, 0), EINVAL);
    assert_refused(build(FUSE_FALLOCATE, &in, sizeof in - 1, 0), EINVAL);
}

static void decodes_open(void **state)
{
    static const uint32_t writing[] = { O_WRONLY, O_RDWR, O_ACCMODE };
    struct fuse_open_in in = { .flags = O_RDONLY | O_DIRECT };
    (void)state;
    struct fuse_request req = decode(build(FUSE_OPEN, &in, sizeof in, 0));
    assert_int_equal(req.wants, FUSE_WANTS_OPEN);
    assert_false(req.for_writing);
    for (size_t i = 0; i < sizeof writing / sizeof *writing; i++) {
        in.flags = writing[i];
        assert_true(decode(build(FUSE_OPEN, &in, sizeof in, 0)).for_writing);
    }
    assert_refused(build(FUSE_OPEN, &in, 1, 0), EINVAL);
}

static void decodes_the_rest(void **state)
{
    static const struct {
        uint32_t opcode;
        size_t arg;
        enum fuse_wants wants;
    } cases[] = {
        { FUSE_GETATTR, sizeof(struct fuse_getattr_in), FUSE_WANTS_ATTR },
        { FUSE_FSYNC, sizeof(struct fuse_fsync_in), FUSE_WANTS_FLUSH },
        { FUSE_FLUSH, sizeof(struct fuse_flush_in), FUSE_WANTS_SUCCESS },
        { FUSE_RELEASE, sizeof(struct fuse_release_in), FUSE_WANTS_RELEASE },
        { FUSE_RELEASE, 0, FUSE_WANTS_RELEASE },
        { FUSE_STATFS, 0, FUSE_WANTS_STATFS },
        { FUSE_ACCESS, sizeof(struct fuse_access_in), FUSE_WANTS_SUCCESS },
        { FUSE_DESTROY, 0, FUSE_WANTS_SUCCESS },
        { FUSE_INTERRUPT, sizeof(struct fuse_interrupt_in), FUSE_WANTS_NOTHING },
        { FUSE_FORGET, sizeof(struct fuse_forget_in), FUSE_WANTS_NOTHING },
        { FUSE_BATCH_FORGET, sizeof(struct fuse_batch_forget_in), FUSE_WANTS_NOTHING },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(decode(build(cases[i].opcode, NULL, 0, cases[i].arg)).wants, cases[i].wants);
    assert_refused(build(FUSE_LOOKUP, NULL, 0, 8), ENOSYS);
    assert_refused(build(FUSE_IOCTL, NULL, 0, 32), ENOSYS);
    assert_refused(build(UINT32_MAX, NULL, 0, 0), ENOSYS);
    assert_refused(build(FUSE_GETATTR, NULL, 0, 0), EINVAL);
    assert_refused(build(FUSE_FSYNC, NULL, 0, 3), EINVAL);
}

static void decodes_a_truncation(void **state)
{
    struct fuse_setattr_in in = { .valid = FATTR_SIZE, .size = 5 };
    (void)state;
    struct fuse_request req = decode(build(FUSE_SETATTR, &in, sizeof in, 0));
    assert_int_equal(req.wants, FUSE_WANTS_SETATTR);
    assert_true(req.resizes);
    assert_int_equal(req.length, 5);
    in.valid = FATTR_MTIME;
    assert_false(decode(build(FUSE_SETATTR, &in, sizeof in, 0)).resizes);
    assert_refused(build(FUSE_SETATTR, &in, sizeof in - 1, 0), EINVAL);
}

static void refuses_a_bad_header(void **state)
{
    struct fuse_request req;
    size_t len = build(FUSE_STATFS, NULL, 0, 0);
    (void)state;
    for (size_t n = 0; n < sizeof(struct fuse_in_header); n++)
        assert_int_equal(fuse_request_decode(packet, n, &req), -EINVAL);
    assert_refused(len + 1, EINVAL); /* the header says less than came */
    struct fuse_in_header head = { .len = UINT32_MAX, .opcode = FUSE_STATFS, .unique = UNIQUE };
    memcpy(packet, &head, sizeof head);
    assert_refused(len, EINVAL);
    assert_refused(build(FUSE_STATFS, NULL, 0, FUSE_REQUEST_MAX), EINVAL);
}

static void agrees_on_init(void **state)
{
    struct fuse_init_in in = { .major = 7, .minor = 31, .max_readahead = 131072, .flags = UINT32_MAX };
    struct fuse_init_out out;
    (void)state;
    /* before 7.36 the kernel sends no more than this */
    struct fuse_request req = decode(build(FUSE_INIT, &in, 16, 0));
    assert_int_equal(req.wants, FUSE_WANTS_INIT);
    assert_int_equal(fuse_init_fill(&req, &out), 0);
    assert_int_equal(out.major, 7);
    assert_int_equal(out.minor, 31);
    assert_int_equal(out.max_write, FUSE_IO_MAX);
    assert_int_equal(out.max_pages, 256);
    assert_int_equal(out.flags, FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES);
    in.flags = 0;
    in.minor = 99;
    req = decode(build(FUSE_INIT, &in, sizeof in, 0));
    assert_int_equal(fuse_init_fill(&req, &out), 0);
    assert_int_equal(out.minor, FUSE_KERNEL_MINOR_VERSION);
    assert_int_equal(out.flags, 0); /* never what was not offered */
    assert_refused(build(FUSE_INIT, &in, 15, 0), EINVAL);
}

static void knows_other_protocols(void **state)
{
    struct fuse_init_out out;
    (void)state;
    assert_int_equal(fuse_init_fill(&(struct fuse_request){ .major = 6, .minor = 40 }, &out), EPROTO);
    assert_int_equal(fuse_init_fill(&(struct fuse_request){ .major = 7, .minor = 30 }, &out), EPROTO);
    assert_int_equal(fuse_init_fill(&(struct fuse_request){ .major = 8, .minor = 0 }, &out), 0);
    assert_int_equal(out.major, 7);
}

static void shows_one_file(void **state)
{
    struct fuse_attr_out attr;
    struct fuse_statfs_out fs;
    (void)state;
    fuse_attr_fill(1 << 20, false, &attr);
    assert_int_equal(attr.attr.size, 1 << 20);
    assert_int_equal(attr.attr.blocks, 2048);
    assert_true(S_ISREG(attr.attr.mode));
    assert_int_equal(attr.attr.mode & 0777, 0600);
    fuse_attr_fill(1 << 20, true, &attr);
    assert_int_equal(attr.attr.mode & 0777, 0400);
    fuse_statfs_fill(1 << 20, &fs);
    assert_int_equal(fs.st.blocks * fs.st.bsize, 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_a_read),       cmocka_unit_test(refuses_a_bad_read),
        cmocka_unit_test(decodes_a_write),      cmocka_unit_test(refuses_a_write_that_lies),
        cmocka_unit_test(decodes_fallocate),    cmocka_unit_test(refuses_a_bad_fallocate),
        cmocka_unit_test(decodes_open),         cmocka_unit_test(decodes_the_rest),
        cmocka_unit_test(decodes_a_truncation), cmocka_unit_test(refuses_a_bad_header),
        cmocka_unit_test(agrees_on_init),       cmocka_unit_test(knows_other_protocols),
        cmocka_unit_test(shows_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
