/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "fuzz.h"
#include "mapper/fuse.h"

/* What the mapper does with a request unasked must hold for any bytes. */
static void check(const struct fuse_request *req, size_t size)
{
    struct fuse_init_out init;
    switch (req->wants) {
    case FUSE_WANTS_WRITE:
        if (req->data > size || req->length > size - req->data)
            abort();
        __attribute__((fallthrough));
    case FUSE_WANTS_READ:
        if (req->length > FUSE_IO_MAX)
            abort();
        __attribute__((fallthrough));
    case FUSE_WANTS_ZERO:
        if (req->offset > INT64_MAX || req->length > INT64_MAX - req->offset)
            abort();
        break;
    case FUSE_WANTS_ERROR:
        if (req->error <= 0)
            abort();
        break;
    case FUSE_WANTS_INIT:
        if (fuse_init_fill(req, &init) == 0 && (init.flags & ~req->flags || init.max_write != FUSE_IO_MAX) &&
            init.major == req->major)
            abort();
        break;
    case FUSE_WANTS_ATTR:
    case FUSE_WANTS_SETATTR:
    case FUSE_WANTS_OPEN:
    case FUSE_WANTS_RELEASE:
    case FUSE_WANTS_FLUSH:
    case FUSE_WANTS_STATFS:
    case FUSE_WANTS_SUCCESS:
    case FUSE_WANTS_NOTHING:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuse_request req;
    if (fuse_request_decode(data, size, &req) == 0)
        check(&req, size);
    return 0;
}
