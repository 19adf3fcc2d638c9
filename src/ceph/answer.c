/* SPDX-License-Identifier: MIT */
#include "ceph/answer.h"

#include <stdlib.h>

void answer_expect(struct answer *a)
{
    a->sent = 0;
    if (rados_aio_create_completion2(NULL, NULL, &a->c) < 0)
        abort(); /* out of memory */
}

int answer_take(struct answer *a)
{
    int rc = a->sent;
    if (rc >= 0) {
        (void)rados_aio_wait_for_complete(a->c);
        rc = rados_aio_get_return_value(a->c);
    }
    rados_aio_release(a->c);
    return rc;
}
