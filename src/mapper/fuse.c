/* SPDX-License-Identifier: MIT */
#include "mapper/fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

/* Linux 5.4. Newer kernels are answered with what our headers know. */
#define MINOR_MIN 31
#define MINOR_MAX FUSE_KERNEL_MINOR_VERSION

/* FUSE_INIT grew at its end in 7.36: this much of it was always there. */
#define INIT_IN_MIN (offsetof(struct fuse_init_in, flags) + sizeof(uint32_t))

/* statfs's block size becomes the loop device's discard granularity: below this, librbd's objects gain
 * nothing by it. */
#define DISCARD_GRANULARITY 65536

#define BLOCK      4096
#define SECTOR     512
#define BACKGROUND 256

static int refuse(struct fuse_request *req, int error)
{
    req->wants = FUSE_WANTS_ERROR;
    req->error = error;
    return 0;
}

/* Takes the fixed part of an operation's arguments; false: the request is shorter than that. */
static bool take(const char *buf, size_t len, void *arg, size_t size)
{
    if (len < sizeof(struct fuse_in_header) + size)
        return false;
    memcpy(arg, buf + sizeof(struct fuse_in_header), size);
    return true;
}

static bool range_ok(uint64_t offset, uint64_t length)
{
    return offset <= INT64_MAX && length <= INT64_MAX - offset;
}

static int decode_init(const char *buf, size_t len, struct fuse_request *req)
{
    struct fuse_init_in in = { 0 };
    if (!take(buf, len, &in, INIT_IN_MIN))
        return refuse(req, EINVAL);
    req->wants = FUSE_WANTS_INIT;
    req->major = in.major;
    req->minor = in.minor;
    req->max_readahead = in.max_readahead;
    req->flags = in.flags;
    return 0;
}

static int decode_setattr(const char *buf, size_t len, struct fuse_request *req)
{
    struct fuse_setattr_in in;
    if (!take(buf, len, &in, sizeof in))
        return refuse(req, EINVAL);
    req->wants = FUSE_WANTS_SETATTR;
    req->resizes = in.valid & FATTR_SIZE;
    req->length = in.size;
    return 0;
}

static int decode_open(const char *buf, size_t len, struct fuse_request *req)
{
    struct fuse_open_in in;
    if (!take(buf, len, &in, sizeof in))
        return refuse(req, EINVAL);
    req->wants = FUSE_WANTS_OPEN;
    req->for_writing = (in.flags & O_ACCMODE) != O_RDONLY;
    return 0;
}

static int decode_read(const char *buf, size_t len, struct fuse_request *req)
{
    struct fuse_read_in in;
    if (!take(buf, len, &in, sizeof in) || in.size > FUSE_IO_MAX || !range_ok(in.offset, in.size))
        return refuse(req, EINVAL);
    req->wants = FUSE_WANTS_READ;
    req->offset = in.offset;
    req->length = in.size;
    return 0;
}

static int decode_write(const char *buf, size_t len, struct fuse_request *req)
{
    struct fuse_write_in in;
    size_t head = sizeof(struct fuse_in_header) + sizeof in;
    if (!take(buf, len, &in, sizeof in) || in.size > FUSE_IO_MAX || in.size != len - head ||
        !range_ok(in.offset, in.size))
        return refuse(req, EINVAL);
    req->wants = FUSE_WANTS_WRITE;
    req->offset = in.offset;
    req->length = in.size;
    req->data = head;
    return 0;
}

static int decode_fallocate(const char *buf, size_t len, struct fuse_request *req)
{
    struct fuse_fallocate_in in;
    if (!take(buf, len, &in, sizeof in) || !in.length || !range_ok(in.offset, in.length))
        return refuse(req, EINVAL);
    /* As the file cannot grow, keeping its size makes no difference; and a thin image keeps no space
     * allocated. */
    if (in.mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) &&
        (in.mode & ~(uint32_t)FALLOC_FL_KEEP_SIZE) != FALLOC_FL_ZERO_RANGE)
        return refuse(req, EOPNOTSUPP);
    req->wants = FUSE_WANTS_ZERO;
    req->offset = in.offset;
    req->length = in.length;
    return 0;
}

static int decode_fixed(enum fuse_wants wants, size_t size, size_t len, struct fuse_request *req)
{
    if (len < sizeof(struct fuse_in_header) + size)
        return refuse(req, EINVAL);
    req->wants = wants;
    return 0;
}

static int decode_body(uint32_t opcode, const char *buf, size_t len, struct fuse_request *req)
{
    switch (opcode) {
    case FUSE_INIT:
        return decode_init(buf, len, req);
    case FUSE_GETATTR:
        return decode_fixed(FUSE_WANTS_ATTR, sizeof(struct fuse_getattr_in), len, req);
    case FUSE_SETATTR:
        return decode_setattr(buf, len, req);
    case FUSE_OPEN:
        return decode_open(buf, len, req);
    case FUSE_READ:
        return decode_read(buf, len, req);
    case FUSE_WRITE:
        return decode_write(buf, len, req);
    case FUSE_FALLOCATE:
        return decode_fallocate(buf, len, req);
    case FUSE_FSYNC:
        return decode_fixed(FUSE_WANTS_FLUSH, sizeof(struct fuse_fsync_in), len, req);
    case FUSE_RELEASE:
        /* Counted however short it is: an open that is never closed would keep the lock for ever. */
        return decode_fixed(FUSE_WANTS_RELEASE, 0, len, req);
    case FUSE_STATFS:
        return decode_fixed(FUSE_WANTS_STATFS, 0, len, req);
    case FUSE_FLUSH: /* sent at close(2) when FOPEN_NOFLUSH is not known */
    case FUSE_ACCESS:
    case FUSE_DESTROY:
        return decode_fixed(FUSE_WANTS_SUCCESS, 0, len, req);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: /* nothing that is under way can be taken back */
        return decode_fixed(FUSE_WANTS_NOTHING, 0, len, req);
    default:
        return refuse(req, ENOSYS);
    }
}

int fuse_request_decode(const void *buf, size_t len, struct fuse_request *ret)
{
    struct fuse_in_header head;
    if (len < sizeof head)
        return -EINVAL;
    memcpy(&head, buf, sizeof head);
    *ret = (struct fuse_request){ .unique = head.unique };
    if (head.len != len || len > FUSE_REQUEST_MAX)
        return refuse(ret, EINVAL);
    return decode_body(head.opcode, buf, len, ret);
}

int fuse_init_fill(const struct fuse_request *req, struct fuse_init_out *ret)
{
    *ret = (struct fuse_init_out){ .major = FUSE_KERNEL_VERSION, .minor = MINOR_MAX };
    if (req->major < FUSE_KERNEL_VERSION || (req->major == FUSE_KERNEL_VERSION && req->minor < MINOR_MIN))
        return EPROTO;
    if (req->major > FUSE_KERNEL_VERSION)
        return 0; /* it comes again, with our major number */
    if (req->minor < MINOR_MAX)
        ret->minor = req->minor;
    ret->max_readahead = req->max_readahead;
    ret->flags = req->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES);
    ret->max_background = BACKGROUND;
    ret->congestion_threshold = BACKGROUND * 3 / 4;
    ret->max_write = FUSE_IO_MAX;
    ret->max_pages = FUSE_IO_MAX / BLOCK;
    ret->time_gran = 1;
    return 0;
}

void fuse_attr_fill(uint64_t size, bool ro, struct fuse_attr_out *ret)
{
    /* Not valid for any time: a grown image shows at the next stat(2), and I/O through a loop device asks for
     * none. */
    *ret = (struct fuse_attr_out){
        .attr = {
            .ino = FUSE_ROOT_ID,
            .size = size,
            .blocks = size / SECTOR,
            .mode = S_IFREG | (ro ? 0400u : 0600u),
            .nlink = 1,
            .blksize = BLOCK,
        },
    };
}

void fuse_open_fill(bool cached, struct fuse_open_out *ret)
{
    /* Older kernels ignore the flags that they do not know. */
    *ret = (struct fuse_open_out){ .fh = 1, .open_flags = FOPEN_NOFLUSH };
    if (!cached)
        ret->open_flags |= FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
}

void fuse_statfs_fill(uint64_t size, struct fuse_statfs_out *ret)
{
    *ret = (struct fuse_statfs_out){ .st = { .blocks = size / DISCARD_GRANULARITY,
                                             .bsize = DISCARD_GRANULARITY,
                                             .frsize = DISCARD_GRANULARITY,
                                             .files = 1,
                                             .namelen = 255 } };
}
