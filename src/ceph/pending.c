/* SPDX-License-Identifier: MIT */
#include "ceph/pending.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT   "rbdvol.pending"
#define LIST_MAX 1000 /* the rest comes at the next round */

int pending_add(const struct place *p, const char *key, struct error *err)
{
    char since[32];
    (void)snprintf(since, sizeof since, "%" PRId64, (int64_t)time(NULL));
    const char *keys[] = { key }, *values[] = { since };
    size_t klens[] = { strlen(key) }, vlens[] = { strlen(since) };
    rados_write_op_t op = rados_create_write_op();
    rados_write_op_omap_set2(op, keys, values, klens, vlens, 1);
    int rc = rados_write_op_operate(op, p->io, OBJECT, NULL, 0);
    rados_release_write_op(op);
    return rc < 0 ? place_error(p, rc, err, "cannot write down what is begun") : 0;
}

int pending_remove(const struct place *p, const char *key, struct error *err)
{
    const char *keys[] = { key };
    size_t klens[] = { strlen(key) };
    rados_write_op_t op = rados_create_write_op();
    rados_write_op_assert_exists(op);
    rados_write_op_omap_rm_keys2(op, keys, klens, 1);
    int rc = rados_write_op_operate(op, p->io, OBJECT, NULL, 0);
    rados_release_write_op(op);
    return rc < 0 && rc != -ENOENT ? place_error(p, rc, err, "cannot write down what is done") : 0;
}

int pending_each(const struct place *p, void (*visit)(void *arg, const char *key, time_t since), void *arg,
                 struct error *err)
{
    rados_omap_iter_t iter = NULL;
    int inner = 0;
    unsigned char more;
    rados_read_op_t op = rados_create_read_op();
    rados_read_op_omap_get_vals2(op, "", "", LIST_MAX, &iter, &more, &inner);
    int rc = rados_read_op_operate(op, p->io, OBJECT, 0);
    rc = rc == 0 ? inner : rc;
    char *k, *v;
    size_t klen, vlen;
    while (rc == 0 && rados_omap_get_next2(iter, &k, &v, &klen, &vlen) == 0 && k) {
        char key[PENDING_KEY_MAX + 1], since[32];
        (void)snprintf(key, sizeof key, "%.*s", (int)klen, k);
        (void)snprintf(since, sizeof since, "%.*s", (int)(vlen < sizeof since ? vlen : 0), v);
        visit(arg, key, (time_t)strtoll(since, NULL, 10));
    }
    if (iter)
        rados_omap_get_end(iter);
    rados_release_read_op(op);
    return rc < 0 && rc != -ENOENT ? place_error(p, rc, err, "cannot read what was begun in the pool") : 0;
}
