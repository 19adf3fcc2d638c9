/* SPDX-License-Identifier: MIT */
/* The kernel's FUSE protocol (linux/fuse.h) for one regular file. Pure: bytes in, a request out; the file's
 * facts in, reply bytes out. No length or offset of a request is used before it has been checked here. */
#pragma once

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FUSE_IO_MAX      (1u << 20) /* of one READ or WRITE; what INIT agrees on */
#define FUSE_REQUEST_MAX (FUSE_IO_MAX + 4096u)

enum fuse_wants {
    FUSE_WANTS_INIT,
    FUSE_WANTS_ATTR,
    FUSE_WANTS_SETATTR,
    FUSE_WANTS_OPEN,
    FUSE_WANTS_RELEASE,
    FUSE_WANTS_READ,
    FUSE_WANTS_WRITE,
    FUSE_WANTS_FLUSH, /* FSYNC: what was written is to be on disk */
    FUSE_WANTS_ZERO,  /* FALLOCATE: the range is to read as zeros */
    FUSE_WANTS_STATFS,
    FUSE_WANTS_SUCCESS, /* nothing to do, answer 0 */
    FUSE_WANTS_NOTHING, /* nothing to do, and no answer */
    FUSE_WANTS_ERROR,   /* answer `error` */
};

struct fuse_request {
    enum fuse_wants wants;
    uint64_t unique;
    int error;        /* ERROR: a positive errno */
    uint64_t offset;  /* READ, WRITE, ZERO */
    uint64_t length;  /* READ, WRITE: at most FUSE_IO_MAX; offset + length is at most INT64_MAX */
    size_t data;      /* WRITE: where in the buffer the payload begins; `length` bytes of it are there */
    bool for_writing; /* OPEN */
    bool resizes;     /* SETATTR: wants the size to be `length` */
    uint32_t major, minor, max_readahead, flags; /* INIT */
};

/* Decodes what one read(2) of /dev/fuse gave. 0: *ret says what is wanted, which may be FUSE_WANTS_ERROR.
 * -EINVAL: too short to hold even the number under which to answer. */
int fuse_request_decode(const void *buf, size_t len, struct fuse_request *ret);

/* The INIT reply. Returns the errno to answer, 0 when *ret is filled. */
int fuse_init_fill(const struct fuse_request *req, struct fuse_init_out *ret);

void fuse_attr_fill(uint64_t size, bool ro, struct fuse_attr_out *ret);
/* cached: the kernel may read ahead, and keep what it read until the file is opened the next time. */
void fuse_open_fill(bool cached, struct fuse_open_out *ret);
void fuse_statfs_fill(uint64_t size, struct fuse_statfs_out *ret);
