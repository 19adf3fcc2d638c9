/* SPDX-License-Identifier: MIT */
/* The OSD's class "lock" is spoken to directly: librados has no call that takes a lock as a part of a larger
 * operation, or without waiting. Its encoding is that of src/cls/lock/cls_lock_ops.h and cls_lock_types.h,
 * the same since Ceph 0.94. */
#include "ceph/imageclaim.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/answer.h"
#include "ceph/imageheader.h"

#define IMAGE_LOCK  "rbd_lock"
#define EXCLUSIVE   1
#define REQUEST_MAX 1024
#define ANSWER_MAX  4096
#define HEAD        6 /* of an encoded structure: version, oldest compatible version, le32 length */
#define ENTITY      9 /* the locker's kind and le64 number */

/* ---- what is asked */

struct request {
    char data[REQUEST_MAX];
    size_t len;
};

static void put(struct request *r, const void *data, size_t len)
{
    if (len > sizeof r->data - r->len) /* names and cookies are shorter than LOCK_TEXT_MAX */
        len = sizeof r->data - r->len;
    memcpy(r->data + r->len, data, len);
    r->len += len;
}

static void put_byte(struct request *r, uint8_t value)
{
    put(r, &value, sizeof value);
}

static void put_number(struct request *r, uint32_t value)
{
    uint32_t le = htole32(value);
    put(r, &le, sizeof le);
}

static void put_text(struct request *r, const char *text)
{
    put_number(r, (uint32_t)strlen(text));
    put(r, text, strlen(text));
}

static void begin(struct request *r, const char *lock)
{
    r->len = 0;
    put_byte(r, 1);
    put_byte(r, 1);
    put_number(r, 0);
    put_text(r, lock);
}

static void end(struct request *r)
{
    uint32_t le = htole32((uint32_t)(r->len - HEAD));
    memcpy(r->data + 2, &le, sizeof le);
}

/* As rados_lock_exclusive. seconds 0: for ever. */
static void add_lock(rados_write_op_t op, const char *lock, const char *cookie, unsigned seconds)
{
    struct request r;
    begin(&r, lock);
    put_byte(&r, EXCLUSIVE);
    put_text(&r, cookie);
    put_text(&r, ""); /* tag */
    put_text(&r, ""); /* description */
    put_number(&r, seconds);
    put_number(&r, 0); /* nanoseconds */
    put_byte(&r, 0);   /* flags */
    end(&r);
    rados_write_op_exec(op, "lock", "lock", r.data, r.len, NULL);
}

static void add_unlock(rados_write_op_t op, const char *lock, const char *cookie)
{
    struct request r;
    begin(&r, lock);
    put_text(&r, cookie);
    end(&r);
    rados_write_op_exec(op, "lock", "unlock", r.data, r.len, NULL);
}

/* ---- who has a lock */

struct lock_read {
    char out[ANSWER_MAX];
    size_t len;
    int rc;
};

static void lock_read_add(rados_read_op_t op, const char *lock, struct lock_read *l)
{
    struct request r;
    begin(&r, lock);
    end(&r);
    l->len = 0;
    l->rc = -EIO;
    rados_read_op_exec_user_buf(op, "lock", "get_info", r.data, r.len, l->out, sizeof l->out, &l->len,
                                &l->rc);
}

static uint32_t number_at(const struct lock_read *l, size_t at)
{
    uint32_t n = UINT32_MAX;
    if (l->len >= at + sizeof n)
        memcpy(&n, l->out + at, sizeof n);
    return le32toh(n);
}

/* The answer begins with a map from lockers to what is known of them. What cannot be read is not free. */
static bool is_free(const struct lock_read *l)
{
    return l->rc == 0 && number_at(l, HEAD) == 0;
}

/* Held once, with this cookie? */
static bool is_held_as(const struct lock_read *l, const char *cookie)
{
    const size_t at = HEAD + sizeof(uint32_t) + HEAD + ENTITY, len = strlen(cookie);
    return l->rc == 0 && number_at(l, HEAD) == 1 && number_at(l, at) == len &&
           l->len >= at + sizeof(uint32_t) + len && memcmp(l->out + at + sizeof(uint32_t), cookie, len) == 0;
}

/* ---- in one flight */

struct claim {
    struct header_read header;
    struct lock_read image, owner, ctl;
};

/* The lock is asked for first, and the object's operations keep their order; but it is the read itself that
 * shows whether it came after. */
static void ask(const struct place *p, const char *object, const struct ctl *ctl, struct claim *c,
                int *lock_rc, int *read_rc)
{
    struct answer locked, read;
    rados_write_op_t lock = rados_create_write_op();
    rados_read_op_t look = rados_create_read_op();
    rados_write_op_assert_exists(lock); /* a lock makes the object that it is on */
    add_lock(lock, CTL_LOCK, ctl->cookie, CTL_SECONDS);
    header_read_add(look, &c->header);
    lock_read_add(look, IMAGE_LOCK, &c->image);
    lock_read_add(look, OWNER_LOCK, &c->owner);
    lock_read_add(look, CTL_LOCK, &c->ctl);
    answer_expect(&locked);
    locked.sent = rados_aio_write_op_operate(lock, p->io, locked.c, object, NULL, 0);
    answer_expect(&read);
    read.sent = rados_aio_read_op_operate(look, p->io, read.c, object, 0);
    *lock_rc = answer_take(&locked);
    *read_rc = answer_take(&read);
    rados_release_write_op(lock);
    rados_release_read_op(look);
}

int imageclaim_free(const struct place *p, const char *id, const struct owner_self *self, struct ctl *ctl,
                    struct image_header *ret, struct error *err)
{
    char object[IMAGE_ID_LEN + 16];
    struct claim c;
    auto_header struct image_header h = { 0 };
    struct ctl mine;
    int locked, read;
    ctl_new(id, self, &mine);
    ask(p, image_header_object(id, object), &mine, &c, &locked, &read);
    mine.held = locked == 0;
    int rc = header_read_take(&c.header, read, p, id, &h, err);
    if (rc == 0 && mine.held && is_held_as(&c.ctl, mine.cookie) && is_free(&c.image) && is_free(&c.owner)) {
        *ctl = mine;
        *ret = h;
        h = (struct image_header){ 0 };
        return 1;
    }
    if (mine.held)
        ctl_drop(p, &mine);
    else
        ctl_forget(&mine);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (locked < 0 && locked != -EBUSY && locked != -EEXIST && locked != -ENOENT)
        return place_error(p, locked, err, "cannot take the control lock rbdvol.ctl");
    return 0;
}

int imageclaim_settle(const struct place *p, const char *id, const struct owner_self *self,
                      const char *mapping, const char *address, struct ctl *ctl, struct error *err)
{
    char object[IMAGE_ID_LEN + 16], cookie[LOCK_TEXT_MAX];
    int rc = owner_cookie(self, mapping, address, cookie, err);
    if (rc < 0)
        return rc;
    rados_write_op_t op = rados_create_write_op();
    rados_write_op_assert_exists(op);
    add_lock(op, OWNER_LOCK, cookie, 0);
    add_unlock(op, CTL_LOCK, ctl->cookie);
    rc = ctl->held ? rados_write_op_operate(op, p->io, image_header_object(id, object), NULL, 0) : -ENOENT;
    rados_release_write_op(op);
    if (rc == 0) {
        ctl_forget(ctl);
        return 0;
    }
    if (rc != -EBUSY && rc != -EEXIST && rc != -ENOENT)
        return place_error(p, rc, err, "cannot write the owner record");
    /* Neither was done: there is a record of an owner before us, or rbdvol.ctl has lapsed. */
    rc = owner_write(p, id, self, mapping, address, err);
    if (rc == 0)
        ctl_drop(p, ctl);
    return rc;
}
