/* SPDX-License-Identifier: MIT */
#include "host/mapper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fakes/calls.h"
#include "fakes/world.h"

#define MAPPINGS  64
#define FIRST_PID 4000000
#define MANAGED   "internal"

static struct entry {
    bool used;
    struct mapping m;
    struct fake_image *image;
    struct mapping_health health;
    bool going;       /* its file shows nothing any more */
    int speaks;       /* the other end of its control; 0: it has none */
} mappings[MAPPINGS]; /* the world's lock guards all that is here */
static unsigned next;
static char refusal[128];
static const struct mapper *used = &mapper_fuse;
static bool waiting, controlled, silent;
static const char *lock_tag = MANAGED;
static struct fake_asked asked_last;
static int early; /* processes that wait for their image */

static void fall_silent(struct entry *e)
{
    if (e->speaks)
        (void)close(e->speaks);
    e->speaks = 0;
}

void fake_mappings_reset(void)
{
    for (size_t i = 0; i < MAPPINGS; i++)
        fall_silent(&mappings[i]);
    controlled = false;
    lock_tag = MANAGED;
    asked_last = (struct fake_asked){ 0 };
    memset(mappings, 0, sizeof mappings);
    next = 0;
    refusal[0] = '\0';
    used = &mapper_fuse;
    waiting = silent = false;
}

void fake_mappings_silent(bool so)
{
    fake_lock();
    silent = so;
    fake_unlock();
}

void fake_mapping_waits(void)
{
    waiting = true;
}

void fake_mapper_control(void)
{
    controlled = true;
}

void fake_mapper_locks_as(const char *tag)
{
    lock_tag = tag;
}

void fake_mapper_asked(struct fake_asked *ret)
{
    fake_lock();
    *ret = asked_last;
    fake_unlock();
}

void fake_mapper_refuse(const char *why)
{
    (void)snprintf(refusal, sizeof refusal, "%s", why ? why : "");
}

size_t fake_mapping_count(void)
{
    size_t n = 0;
    fake_lock();
    for (size_t i = 0; i < MAPPINGS; i++)
        n += mappings[i].used;
    fake_unlock();
    return n;
}

static struct entry *find(const char *image)
{
    for (size_t i = 0; i < MAPPINGS; i++)
        if (mappings[i].used && strcmp(mappings[i].m.name.image, image) == 0)
            return &mappings[i];
    return NULL;
}

bool fake_mapping_find(const char *image, struct mapping *ret)
{
    fake_lock();
    const struct entry *e = find(image);
    if (e)
        *ret = e->m;
    fake_unlock();
    return e != NULL;
}

void fake_mapping_kill(const char *image)
{
    pid_t pid = 0;
    fake_lock();
    struct entry *e = find(image);
    if (e) {
        pid = e->m.pid;
        e->used = false;
        fall_silent(e);
    }
    fake_unlock();
    fake_process_end(pid);
}

unsigned fake_minor_of_image(const char *image)
{
    const struct entry *e = find(image);
    return e ? (unsigned)(e - mappings) : MAPPINGS;
}

/* What it was mounted on is still there, and empty. */
struct fake_image *fake_mapping_image(const char *file, unsigned *minor)
{
    static struct fake_image placeholder;
    if (!fake_mapping_minor(file, minor) || !mappings[*minor].used)
        return NULL;
    return mappings[*minor].going ? &placeholder : mappings[*minor].image;
}

struct fake_image *fake_minor_image(unsigned minor)
{
    return minor < MAPPINGS && mappings[minor].used ? mappings[minor].image : NULL;
}

bool fake_mapping_minor(const char *file, unsigned *minor)
{
    for (size_t i = 0; i < MAPPINGS; i++)
        if (mappings[i].m.file[0] && strcmp(mappings[i].m.file, file) == 0) {
            *minor = (unsigned)i;
            return true;
        }
    return false;
}

bool fake_minor_file(unsigned minor, char *file, size_t size)
{
    bool found = minor < MAPPINGS && mappings[minor].m.file[0];
    if (found)
        (void)snprintf(file, size, "%s", mappings[minor].m.file);
    return found;
}

void fake_mapping_health(const char *image, const struct mapping_health *h)
{
    fake_lock();
    struct entry *e = find(image);
    if (e)
        e->health = *h;
    if (e && e->speaks && send(e->speaks, h, sizeof *h, MSG_NOSIGNAL) < 0)
        fall_silent(e);
    fake_unlock();
}

/* With the lock held. A minor whose loop device outlives its mapping is not given to another. */
static struct entry *free_entry(void)
{
    for (size_t i = 0; i < MAPPINGS; i++)
        if (!mappings[i].used && !fake_minor_in_use((unsigned)i))
            return &mappings[i];
    return NULL;
}

static int map_image(struct fake_image *image, const struct image_name *name, bool ro, const char *run_dir,
                     struct mapping *ret, struct error *err)
{
    struct entry *e = free_entry();
    if (!e)
        return error_set(err, -ENOSPC, "no more fake mappings");
    if (fake_image_lock(image, "rbd_lock"))
        return error_set(err, -EBUSY, "another client holds the lock");
    struct mapping m = { .mapper = used,
                         .name = *name,
                         .ro = ro,
                         .pid = (pid_t)(FIRST_PID + ++next),
                         .pid_start = next,
                         .control = -1 };
    (void)snprintf(m.id, sizeof m.id, "%016x", next);
    memcpy(m.image_id, image->id, sizeof m.image_id);
    (void)snprintf(m.address, sizeof m.address, "192.0.2.1:0/%u", 1000 + next);
    (void)snprintf(m.file, sizeof m.file, "%s/%s.img", run_dir, m.id);
    if (!ro && lock_tag)
        fake_image_lock_set(image, "rbd_lock", "auto 1", lock_tag, m.address);
    fake_image_watch(image, m.address, true);
    *e = (struct entry){
        .used = true, .m = m, .image = image, .health = { .state = MAPPING_READY, .opens = 1 }
    };
    *ret = m;
    int ends[2];
    if (controlled && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
        ret->control = ends[0];
        e->speaks = ends[1];
    }
    if (used->needs_cluster) /* the kernel does not tell its client's address */
        ret->address[0] = '\0';
    return 0;
}

void fake_mapping_add(struct fake_image *image, const char *run_dir)
{
    struct mapping m = { 0 };
    struct error err;
    struct image_name name = { 0 };
    fake_lock();
    memcpy(name.pool, image->pool->name, sizeof name.pool);
    memcpy(name.ns, image->pool->ns, sizeof name.ns);
    (void)snprintf(name.image, sizeof name.image, "%s", image->listed);
    (void)map_image(image, &name, false, run_dir, &m, &err);
    fake_unlock();
    fake_process_add(m.pid, m.pid_start);
}

static int probe(const struct mapper_image *image, struct error *err)
{
    (void)image;
    return refusal[0] ? error_set(err, -ENODEV, "%s", refusal) : 0;
}

static void start_early(const struct mapper_host *host, struct mapper_early *ret)
{
    (void)host;
    *ret = (struct mapper_early){ .pid = FIRST_PID - 1, .channel = open("/dev/null", O_RDONLY | O_CLOEXEC) };
    fake_lock();
    early++;
    fake_unlock();
}

static void drop_early(struct mapper_early *e)
{
    if (!e->pid)
        return;
    (void)close(e->channel);
    e->pid = 0;
    fake_lock();
    early--;
    fake_unlock();
}

int fake_early_count(void)
{
    fake_lock();
    int n = early;
    fake_unlock();
    return n;
}

static int map(const struct mapper_host *host, const struct mapper_image *asked, moment deadline,
               struct mapping *ret, struct error *err)
{
    const struct image_name *name = asked->name;
    (void)deadline;
    int rc = fake_call("map", name->image, err);
    if (rc < 0)
        return rc;
    if (used->needs_cluster && !asked->cluster)
        return error_set(err, -EINVAL, "the kernel needs the monitors' addresses");
    fake_lock();
    asked_last = (struct fake_asked){ .krbd = !asked->not_krbd,
                                      .nbd = !asked->not_nbd,
                                      .early = asked->early && asked->early->pid };
    (void)snprintf(asked_last.key_file, sizeof asked_last.key_file, "%s",
                   asked->key_file ? asked->key_file : "");
    struct fake_image *image = fake_image_any_pool(name);
    rc = !image || strcmp(image->id, asked->id) != 0
             ? error_set(err, -ENODEV, "no image id %s", asked->id)
             : map_image(image, name, asked->ro, host->run_dir, ret, err);
    fake_unlock();
    if (rc < 0)
        return rc;
    if (asked_last.early)
        drop_early(asked->early); /* it is the mapping's from now on */
    fake_process_add(ret->pid, ret->pid_start);
    fake_changed("map %s", name->image);
    return 0;
}

/* With the lock held. A mapping that is gone has nothing open. */
static struct entry *by_id(const char *id)
{
    for (size_t i = 0; i < MAPPINGS; i++)
        if (mappings[i].used && strcmp(mappings[i].m.id, id) == 0)
            return &mappings[i];
    return NULL;
}

static struct entry *entry_of(const struct mapping *m)
{
    return by_id(m->id);
}

static int wait_closed(struct mapping *m, moment deadline, struct error *err)
{
    (void)deadline;
    int rc = fake_call("wait_closed", m->name.image, err);
    if (rc < 0)
        return rc;
    fake_lock();
    const struct entry *e = entry_of(m);
    bool open = e && fake_minor_in_use((unsigned)(e - mappings));
    fake_unlock();
    return open ? error_set(err, -EBUSY, "the file of image '%s' is still open", m->name.image) : 0;
}

static int unmap(const struct mapper_host *host, struct mapping *m, moment deadline, struct error *err)
{
    (void)host;
    (void)deadline;
    int rc = fake_call("unmap", m->name.image, err);
    fake_lock();
    struct entry *e = entry_of(m);
    m->going = rc != -EBUSY;
    if (e)
        e->going = m->going;
    fake_unlock();
    if (rc < 0 && rc != -EIO)
        return rc;
    if (m->control >= 0)
        (void)close(m->control);
    m->control = -1;
    fake_lock();
    struct fake_image *image = e ? e->image : NULL;
    struct fake_lock *l = image ? fake_image_lock(image, "rbd_lock") : NULL;
    if (l && rc == 0)
        l->held = false;
    if (image)
        fake_image_watch(image, m->address, false);
    if (e) {
        e->used = false;
        e->m.file[0] = '\0';
        fall_silent(e);
    }
    fake_unlock();
    if (e) {
        fake_process_end(m->pid);
        fake_changed("unmap %s", m->name.image);
    }
    return rc;
}

static int await_end(const struct mapping *m, moment deadline)
{
    (void)deadline;
    return fake_call("await-end", m->name.image, NULL);
}

static int health(struct mapping *m, struct mapping_health *ret, struct error *err)
{
    (void)err;
    *ret = (struct mapping_health){ .state = MAPPING_GONE };
    fake_lock();
    const struct entry *e = entry_of(m);
    if (e)
        *ret = e->health;
    fake_unlock();
    return 0;
}

static int ask(int control)
{
    (void)control;
    return fake_call("ask", "", NULL);
}

static int hear(int control, struct mapping_health *ret)
{
    struct mapping_health h;
    ssize_t n = recv(control, &h, sizeof h, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 ? 0 : -EPIPE;
    *ret = h;
    return 1;
}

static int fail(const struct mapping *m, struct error *err)
{
    int rc = fake_call("fail", m->name.image, err);
    fake_lock();
    struct entry *e = rc == 0 ? entry_of(m) : NULL;
    if (e) {
        e->used = false;
        fall_silent(e);
    }
    fake_unlock();
    if (e) {
        fake_process_end(m->pid);
        fake_changed("fail %s", m->name.image);
    }
    return rc;
}

static bool waits(const struct mapping *m)
{
    (void)m;
    return waiting;
}

static void prepare(const struct mapper_host *host)
{
    (void)host;
    (void)fake_call("prepare", "", NULL);
}

/* What its loop device is on is in the entry still. */
static int reattach(const struct mapper_host *host, const struct mapper_image *asked, struct mapping *m,
                    moment deadline, struct error *err)
{
    (void)host;
    (void)deadline;
    int rc = fake_call("reattach", asked->name->image, err);
    if (rc < 0)
        return rc;
    fake_lock();
    struct entry *e = NULL;
    for (size_t i = 0; i < MAPPINGS; i++)
        if (strcmp(mappings[i].m.id, m->id) == 0)
            e = &mappings[i];
    rc = !e || fake_image_lock(e->image, "rbd_lock") ? error_set(err, -EBUSY, "another client holds the lock")
                                                     : 0;
    if (rc == 0) {
        m->pid = (pid_t)(FIRST_PID + ++next);
        m->pid_start = next;
        (void)snprintf(m->address, sizeof m->address, "192.0.2.1:0/%u", 1000 + next);
        fake_image_lock_set(e->image, "rbd_lock", "auto 1", "internal", m->address);
        fake_image_watch(e->image, m->address, true);
        e->used = true;
        e->m = *m;
    }
    fake_unlock();
    if (rc == 0) {
        fake_process_add(m->pid, m->pid_start);
        fake_changed("reattach %s", asked->name->image);
    }
    return rc;
}

static int change(struct mapping *m, const struct image_change *c, moment deadline, struct error *err)
{
    (void)deadline;
    int rc = fake_call("change", m->name.image, err);
    if (rc < 0)
        return rc;
    fake_lock();
    const struct entry *e = entry_of(m);
    rc = e ? fake_image_change(e->image, c, err) : error_set(err, -EIO, "the mapper has ended");
    fake_unlock();
    return rc < 0 ? rc : fake_call_end("change", m->name.image, err);
}

static int find_all(const struct mapper_host *host, bool (*found)(void *arg, const struct mapping *m),
                    void *arg, struct error *err)
{
    (void)host;
    int rc = fake_call("mapper_find", "", err);
    for (size_t i = 0; rc == 0 && i < MAPPINGS; i++) {
        fake_lock();
        struct entry e = mappings[i];
        e.used = e.used && !silent;
        fake_unlock();
        if (e.used && e.m.mapper->needs_cluster)
            e.m.address[0] = '\0';
        if (e.used)
            (void)found(arg, &e.m);
    }
    return rc;
}

static int find_one(const struct mapper_host *host, const char *id, struct mapping *ret)
{
    (void)host;
    (void)fake_call("mapper_find_one", id, NULL);
    fake_lock();
    const struct entry *e = silent ? NULL : by_id(id);
    if (e)
        *ret = e->m;
    fake_unlock();
    return e != NULL;
}

static int connect_again(const struct mapping *m)
{
    int ends[2], rc = fake_call("connect", m->name.image, NULL);
    if (rc < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -ECONNREFUSED;
    fake_lock();
    struct entry *e = entry_of(m);
    int old = e ? e->speaks : ends[1];
    if (e)
        e->speaks = ends[1];
    if (old)
        (void)close(old);
    fake_unlock();
    return ends[0];
}

bool mapper_alive(const struct mapper_host *host, const char *id)
{
    (void)host;
    fake_lock();
    bool alive = by_id(id) != NULL;
    fake_unlock();
    return alive;
}

const struct mapper mapper_fuse = {
    .name = "fuse",
    .probe = probe,
    .map = map,
    .wait_closed = wait_closed,
    .unmap = unmap,
    .await_end = await_end,
    .alive = mapper_alive,
    .health = health,
    .change = change,
    .ask = ask,
    .hear = hear,
    .fail = fail,
    .waits = waits,
    .reattach = reattach,
    .find = find_all,
    .find_one = find_one,
    .prepare = prepare,
    .start_early = start_early,
    .drop_early = drop_early,
};

static int verify(const struct mapping *m, const struct device_node *node, struct error *err)
{
    (void)node;
    return fake_call("verify", m->name.image, err);
}

/* One whose client nobody can ask. */
const struct mapper fake_kernel = {
    .name = "kernel",
    .needs_cluster = true,
    .probe = probe,
    .map = map,
    .verify = verify,
    .unmap = unmap,
    .alive = mapper_alive,
    .health = health,
    .find = find_all,
    .find_one = find_one,
};

void fake_mapper_unconnected(void)
{
    static struct mapper one;
    one = mapper_fuse;
    one.connect = connect_again;
    used = &one;
}

void fake_mapper_kernel(void)
{
    used = &fake_kernel;
}

const struct mapper *fake_mapper_used(void)
{
    return used;
}
