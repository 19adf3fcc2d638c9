/* SPDX-License-Identifier: MIT */
/* One answer of the cluster that is waited for: questions that do not depend on each other are sent together,
 * so that they take the time of one. Bounded like any other operation, by the connection's time-outs. */
#pragma once

#include <rados/librados.h>

struct answer {
    rados_completion_t c;
    int sent; /* what the rados_aio_ call returned */
};

/* Before the rados_aio_ call, which is given a->c, and whose result becomes a->sent. */
void answer_expect(struct answer *a);

/* Waits for it: what the same call without aio would have returned. To be called once for each
 * answer_expect(), before what the question points to goes away. */
int answer_take(struct answer *a);
