/* SPDX-License-Identifier: MIT */
/* Mapping by rbd-nbd: librbd in a process of its own behind the kernel's network block device. For image
 * features that the kernel's own rbd driver lacks. The mapping's id is the device's cookie. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "base/file.h"
#include "base/identity.h"
#include "base/log.h"
#include "base/text.h"
#include "host/blockstat.h"
#include "host/helper.h"
#include "host/mapper-scope.h"
#include "host/mapping-record.h"
#include "host/procs.h"

#define KIND           "nbd"
#define PROGRAM        "rbd-nbd"
#define ARGV0          "@" PROGRAM /* "@": systemd lets it live when it kills what is left at shutdown */
#define DRIVER         "/sys/module/nbd"
#define OUTPUT         ".nbd.out"               /* what rbd-nbd says, until it has mapped */
#define REATTACH       "--reattach-timeout=300" /* I/O waits for another process (volume/reattach.c) */
#define KILL_MS        2000
#define TELL_MS        30000 /* to run rbd-nbd, of which 5 s were not enough on a busy host of two processors */
#define OPEN_MS        10000
#define PAUSE_MS       10
#define LINE_MAX_BYTES 4096

static int nbd_probe(const struct mapper_image *image, struct error *err)
{
    char path[PATH_MAX];
    (void)image; /* librbd knows all features */
    if (command_find(PROGRAM, path, sizeof path) < 0)
        return error_set(err, -ENODEV, "rbd-nbd is not installed");
    if (access(DRIVER, F_OK) < 0)
        return error_set(err, -ENODEV,
                         "the kernel's nbd driver is not loaded (`modprobe nbd`; at each boot: `systemctl "
                         "enable modprobe@nbd`, or a line `nbd` in /etc/modules-load.d)");
    return 0;
}

static void output_path(const char *run_dir, const char *mapping, char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/%s" OUTPUT, run_dir, mapping);
}

static void files_remove(const char *run_dir, const char *mapping)
{
    char path[PATH_MAX];
    output_path(run_dir, mapping, path);
    (void)unlink(path);
    mapping_record_remove(run_dir, KIND, mapping);
}

/* ---- its process, and its device */

/* 1: read; 0: the device has it not; negative: could not look (-EMFILE). */
static int device_attribute(const char *device, const char *name, char text[static 64])
{
    char path[PATH_MAX];
    struct error ignored;
    (void)snprintf(path, sizeof path, "/sys/block/%s/%s", device + strlen("/dev/"), name);
    int rc = file_read_line(path, text, 64, &ignored);
    return rc == 0 ? 1 : file_was_not_read(rc) ? rc : 0;
}

/* Is this device configured, and for this mapping? By the cookie, which also outlives rbd-nbd; where rbd-nbd
 * could not use netlink there is none, but then the device goes with its process. 1: yes; 0: no; negative:
 * could not look. */
static int is_device_of(const char *device, const char *mapping, pid_t pid)
{
    char text[64];
    int rc = device_attribute(device, "size", text);
    if (rc != 1 || strtoll(text, NULL, 10) <= 0)
        return rc < 0 ? rc : 0;
    rc = device_attribute(device, "backend", text);
    if (rc != 0)
        return rc < 0 ? rc : strcmp(text, mapping) == 0;
    rc = pid ? device_attribute(device, "pid", text) : 0;
    return rc == 1 ? strtoll(text, NULL, 10) == pid : rc;
}

/* The mapping's device. 1: found; 0: there is none; negative: could not look. */
static int device_of(const char *mapping, pid_t pid, char *device, size_t size)
{
    int rc, unseen = 0;
    auto_dir DIR *dir = opendir("/sys/block");
    if (!dir)
        return -errno;
    for (const struct dirent *e; (e = readdir(dir));) {
        char path[NAME_MAX + 8];
        (void)snprintf(path, sizeof path, "/dev/%s", e->d_name);
        if (strncmp(e->d_name, "nbd", 3) != 0 || (rc = is_device_of(path, mapping, pid)) == 0)
            continue;
        if (rc < 0) {
            unseen = rc;
            continue;
        }
        (void)snprintf(device, size, "%s", path);
        return 1;
    }
    return unseen;
}

/* Of a process that hangs the kernel still tells which device it has. */
static bool is_driven_by(pid_t pid, const char *mapping)
{
    char device[32], text[64];
    return device_of(mapping, pid, device, sizeof device) == 1 &&
           device_attribute(device, "pid", text) == 1 && strtoll(text, NULL, 10) == pid;
}

struct process {
    const char *mapping;
    pid_t pid;
};

static bool is_process(void *arg, pid_t pid, char *const *argv)
{
    struct process *p = arg;
    char cookie[MAPPING_ID_LEN + 16];
    if (!argv) {
        p->pid = is_driven_by(pid, p->mapping) ? pid : 0;
        return p->pid != 0;
    }
    (void)snprintf(cookie, sizeof cookie, "--cookie=%s", p->mapping);
    for (; *argv; argv++)
        if (strcmp(*argv, cookie) == 0) {
            p->pid = pid;
            return true;
        }
    return false;
}

/* The rbd-nbd of this mapping, of this daemon or one before it. 1: *ret; 0: there is none; negative: could
 * not look. */
static int process_of(const char *mapping, pid_t *ret)
{
    struct process p = { .mapping = mapping };
    int rc = procs_each(ARGV0, is_process, &p);
    *ret = p.pid;
    return rc;
}

/* ---- up */

/* Its last words, for a message. */
static void last_words(const char *path, char *buf, size_t size)
{
    char *text;
    size_t len;
    struct error ignored;
    buf[0] = '\0';
    if (file_read(path, LINE_MAX_BYTES, &text, &len, &ignored) < 0)
        return;
    while (len && (unsigned char)text[len - 1] <= ' ')
        text[--len] = '\0';
    const char *line = strrchr(text, '\n');
    (void)snprintf(buf, size, ": %s", line ? line + 1 : text);
    if (!len)
        buf[0] = '\0';
    free(text);
}

/* "/dev/nbd0" at the beginning of what it said: mapped. */
static bool said_device(const char *path, char *device, size_t size)
{
    char line[128];
    struct error ignored;
    if (file_read_line(path, line, sizeof line, &ignored) < 0 || strncmp(line, "/dev/nbd", 8) != 0)
        return false;
    (void)snprintf(device, size, "%.*s", (int)strcspn(line, " "), line);
    return true;
}

/* With a device in *m, that is attached again. */
static int spawn(const struct mapper_host *host, const struct mapper_image *image, const struct mapping *m,
                 int output, pid_t *ret, struct error *err)
{
    char program[PATH_MAX], full[IMAGE_NAME_MAX + 1], conf[PATH_MAX + 8], id[300], cluster[300], cookie[64],
        mount[64], device[64];
    if (command_find(PROGRAM, program, sizeof program) < 0)
        return error_set(err, -ENODEV, PROGRAM " is not installed");
    (void)snprintf(conf, sizeof conf, "--conf=%s", host->ceph_conf);
    (void)snprintf(id, sizeof id, "--id=%s", host->user);
    (void)snprintf(cluster, sizeof cluster, "--cluster=%s", host->cluster);
    (void)snprintf(cookie, sizeof cookie, "--cookie=%s", m->id);
    (void)snprintf(device, sizeof device, "--device=%s", m->device);
    (void)snprintf(mount, sizeof mount, "--client_mount_timeout=%lld",
                   (long long)((host->connect_ms + 999) / 1000));
    /* What our safety rests on, over the file's and the monitors' values: see ceph/connection.c. */
    const char *name = ARGV0; /* not in the list: two literals in a row look like a missing comma */
    const char *argv[] = { name,
                           "--foreground",
                           conf,
                           id,
                           cluster,
                           mount,
                           "--rbd_cache=false",
                           "--rbd_blocklist_on_break_lock=true",
                           "--rbd_blocklist_expire_seconds=0",
                           "--rados_mon_op_timeout=0",
                           "--rados_osd_op_timeout=0",
                           "--rbd_disable_zero_copy_writes=true",
                           "--admin_socket=",
                           "--log_file=",
                           "--log_to_file=false",
                           m->device[0] ? "attach" : "map",
                           image_name_full(image->name, full),
                           "--try-netlink",
                           "--io-timeout=0",
                           REATTACH,
                           cookie,
                           image->ro ? "--read-only" : "--exclusive",
                           m->device[0] ? device : NULL,
                           NULL };
    return command_spawn_logged(program, argv, output, ret, err);
}

static int wait_mapped(const char *path, pid_t pid, moment deadline, struct mapping *m, struct error *err)
{
    char words[300];
    while (!said_device(path, m->device, sizeof m->device)) {
        int rc = command_wait(pid, clock_now());
        if (rc != -ETIMEDOUT) {
            last_words(path, words, sizeof words);
            return error_set(err, strstr(words, "Read-only") ? -EBUSY : -EIO, PROGRAM " could not map it%s",
                             words);
        }
        if (clock_left_ms(deadline) == 0)
            return error_set(err, -ETIMEDOUT,
                             "the cluster did not let it be opened and locked by " PROGRAM " in time");
        clock_pause_ms(PAUSE_MS);
    }
    m->pid = pid;
    return procs_start_time(pid, &m->pid_start) < 0 ? error_set(err, -EIO, PROGRAM " has ended at once") : 0;
}

static void protect(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "-1000", 5) < 0)
        log_notice("rbd-nbd pid=%d can be killed when memory runs out: %s", (int)pid, error_text(errno));
}

/* Starts its process. With a device in *m: for that. */
static int run(const struct mapper_host *host, const struct mapper_image *image, struct mapping *m,
               moment deadline, struct error *err)
{
    char path[PATH_MAX];
    pid_t pid;
    output_path(host->run_dir, m->id, path);
    (void)unlink(path); /* of an attempt that was cut off */
    auto_close int output = open(path, O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (output < 0)
        return error_set(err, -EIO, "cannot make %s: %s", path, error_text(errno));
    int rc = spawn(host, image, m, output, &pid, err);
    if (rc < 0)
        return rc == -ENOENT ? (err->code = -ENODEV) : rc;
    mapper_give_scope(host, image, m, pid, deadline); /* while it connects: it costs no time */
    rc = wait_mapped(path, pid, deadline, m, err);
    if (rc < 0) { /* before anything was written: no harm in killing */
        (void)kill(pid, SIGKILL);
        if (command_wait(pid, clock_in_ms(KILL_MS)) == -ETIMEDOUT)
            command_disown(pid);
        return rc;
    }
    command_disown(pid);
    protect(pid);
    (void)unlink(path);
    return 0;
}

static int nbd_map(const struct mapper_host *host, const struct mapper_image *image, moment deadline,
                   struct mapping *ret, struct error *err)
{
    struct mapping m = { .mapper = &mapper_nbd, .name = *image->name, .ro = image->ro, .control = -1 };
    struct mapping_record r = { .name = *image->name, .ro = image->ro };
    identity_random_hex(m.id, MAPPING_ID_LEN / 2);
    memcpy(r.mapping, m.id, sizeof r.mapping);
    (void)snprintf(m.image_id, sizeof m.image_id, "%s", image->id);
    memcpy(r.image_id, m.image_id, sizeof r.image_id);
    int rc = mapping_record_write(host->run_dir, KIND, &r, err);
    if (rc == 0)
        rc = run(host, image, &m, deadline, err);
    if (rc < 0) {
        files_remove(host->run_dir, m.id);
        return rc;
    }
    *ret = m;
    return 0;
}

/* ---- what is there */

static bool is_alive(const struct mapping *m)
{
    return m->pid && procs_alive(m->pid, m->pid_start);
}

/* Is the device (still) of this mapping? 1: yes; 0: no; negative: could not look, and err says so. */
static int is_there(const struct mapping *m, struct error *err)
{
    int rc = m->device[0] ? is_device_of(m->device, m->id, m->pid) : 0;
    return rc < 0 ? error_set(err, -EAGAIN, "cannot look whether %s is still the mapping of '%s': %s",
                              m->device, m->name.image, error_text(rc))
                  : rc;
}

static int nbd_verify(const struct mapping *m, const struct device_node *node, struct error *err)
{
    if (is_alive(m) && is_there(m, err) == 1 && strcmp(node->path, m->device) == 0)
        return 0;
    return error_set(err, -ENODEV, "%s is not the mapping of '%s' any more", node->path, m->name.image);
}

/* Opening it may hang: done by a child. 0: nobody has it exclusively, -EBUSY: somebody does. */
static int open_exclusively(const struct mapping *m, struct error *err)
{
    char program[PATH_MAX];
    const char *argv[] = { "rbdvol-device", "exclusive", m->device, NULL };
    pid_t pid;
    if (helper_path("device", program, sizeof program) < 0)
        return error_set(err, -ENAMETOOLONG, "the path of rbdvol-device is too long");
    int rc = command_spawn(program, argv, NULL, 0, &pid, err);
    if (rc < 0)
        return rc == -ENOENT ? (err->code = -EOPNOTSUPP) : rc;
    rc = command_wait(pid, clock_in_ms(OPEN_MS));
    if (rc == 0)
        return 0;
    if (rc == EBUSY)
        return error_set(err, -EBUSY, "%s is still in use", m->device);
    if (rc != -ETIMEDOUT)
        return error_set(err, -EAGAIN, "cannot open %s: %s", m->device, error_text(rc));
    (void)kill(pid, SIGKILL);
    command_disown(pid);
    return error_set(err, rc, "opening %s hangs: the storage under it may", m->device);
}

/* The kernel would take the device away from under a mount: nobody may have it. A mount, in whichever
 * namespace, has it exclusively. */
static int nbd_wait_closed(struct mapping *m, moment deadline, struct error *err)
{
    int rc;
    while ((rc = is_there(m, err)) == 1 && (rc = open_exclusively(m, err)) == -EBUSY &&
           clock_left_ms(deadline) > 0)
        clock_pause_ms(PAUSE_MS);
    return rc;
}

static int wait_gone(const struct mapping *m, moment deadline)
{
    auto_close int fd = (int)syscall(SYS_pidfd_open, m->pid, 0);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    if (fd < 0 || !is_alive(m))
        return 0;
    int n;
    while ((n = poll(&p, 1, clock_left_ms(deadline))) < 0 && errno == EINTR)
        ;
    return n == 0 ? -ETIMEDOUT : 0;
}

/* Tells the kernel to let go of the device; rbd-nbd flushes, releases the lock and ends with that. */
static int disconnect(const struct mapping *m, moment deadline, struct error *err)
{
    const char *argv[] = { PROGRAM, "unmap", m->device, NULL };
    struct command_output out;
    const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = deadline };
    int rc = command_run(&cmd, &out, err);
    if (rc > 0)
        return error_set(err, -EBUSY, "rbd-nbd cannot unmap %s: %s", m->device, out.text);
    return rc == -ENOENT ? (err->code = -ENODEV) : rc;
}

static int nbd_unmap(const struct mapper_host *host, struct mapping *m, moment deadline, struct error *err)
{
    struct error ignored;
    bool lived = is_alive(m);
    int rc = is_there(m, err);
    if (rc == 1)
        rc = open_exclusively(m, err);
    if (rc == 0)
        rc = is_there(m, err);
    if (rc == 1) {
        rc = disconnect(m, deadline, err);
        m->going = m->going || rc == 0 || rc == -ETIMEDOUT;
    }
    m->going = m->going || is_there(m, &ignored) == 0;
    if (rc == 0 && wait_gone(m, deadline) < 0)
        rc = error_set(err, -ETIMEDOUT, "rbd-nbd (pid %d) does not end", (int)m->pid);
    if (rc < 0)
        return rc;
    files_remove(host->run_dir, m->id);
    if (lived || m->ro)
        return 0;
    return error_set(
        err, -EIO,
        "rbd-nbd of '%s' had ended before it was told to; whether its last writes are on disk is "
        "not known, and its lock may be left",
        m->name.image);
}

/* Only the kernel's netlink, which gives the device its cookie, lets another process take it over. Where that
 * could not be looked at, reattach() tells. */
static bool nbd_waits(const struct mapping *m)
{
    char text[64];
    struct error ignored;
    return !m->ro && !is_alive(m) && is_there(m, &ignored) != 0 &&
           device_attribute(m->device, "backend", text) != 0;
}

static int nbd_reattach(const struct mapper_host *host, const struct mapper_image *image, struct mapping *m,
                        moment deadline, struct error *err)
{
    char device[sizeof m->device];
    memcpy(device, m->device, sizeof device);
    m->address[0] = '\0';
    int rc = run(host, image, m, deadline, err);
    if (rc == 0 && strcmp(device, m->device) != 0)
        rc = error_set(err, -EPROTO, "rbd-nbd attached %s in place of %s", m->device, device);
    memcpy(m->device, device, sizeof m->device);
    return rc;
}

/* The kernel fails what waits, and what comes. */
static int nbd_fail(const struct mapping *m, struct error *err)
{
    if (is_alive(m))
        (void)kill(m->pid, SIGKILL);
    int rc = is_there(m, err);
    return rc == 1 ? disconnect(m, clock_in_ms(TELL_MS), err) : rc;
}

static int nbd_health(struct mapping *m, struct mapping_health *ret, struct error *err)
{
    *ret = (struct mapping_health){ .state = MAPPING_GONE };
    int rc = is_alive(m) ? is_there(m, err) : 0;
    if (rc <= 0)
        return rc;
    ret->state = MAPPING_READY; /* whether it was fenced, the lock's owner tells */
    ret->opens = 1;
    blockstat_fill(m->device, ret);
    return 0;
}

static bool nbd_alive(const struct mapper_host *host, const char *id)
{
    pid_t pid;
    (void)host;
    return process_of(id, &pid) != 0; /* nor could it be said that it is not */
}

/* One that was still on its way, when nothing could be written yet, or whose process has ended: then the
 * device may still be mounted, and is taken down with that. */
static void clear_away(const struct mapper_host *host, struct mapping *m, bool lives)
{
    struct error err;
    if (lives) {
        (void)kill(m->pid, SIGKILL);
        (void)wait_gone(m, clock_in_ms(KILL_MS));
        (void)device_of(m->id, m->pid, m->device, sizeof m->device);
    }
    m->ro = true; /* nobody needs to be told what its lock is like */
    if (nbd_unmap(host, m, clock_in_ms(TELL_MS), &err) < 0)
        log_notice("leaving %s, whose rbd-nbd has ended: %s", m->device, err.msg);
}

struct search {
    const struct mapper_host *host;
    bool (*found)(void *arg, const struct mapping *m);
    void *arg;
    int unseen; /* why one could not be looked for */
};

/* What there is of it. 1: it is whole, or waits; 0: it is not; negative: could not look. */
static int find_recorded(const struct mapping_record *r, struct mapping *m, bool *lives)
{
    *m = (struct mapping){ .mapper = &mapper_nbd, .name = r->name, .ro = r->ro, .control = -1 };
    memcpy(m->id, r->mapping, sizeof m->id);
    memcpy(m->image_id, r->image_id, sizeof m->image_id);
    int rc = process_of(r->mapping, &m->pid); /* none: the engine sees that it has ended */
    *lives = m->pid && procs_start_time(m->pid, &m->pid_start) == 0;
    if (rc >= 0)
        rc = device_of(m->id, m->pid, m->device, sizeof m->device);
    return rc == 1 ? *lives || nbd_waits(m) : rc;
}

static bool search_record(void *arg, const struct mapping_record *r)
{
    struct search *s = arg;
    struct mapping m;
    bool lives;
    int rc = find_recorded(r, &m, &lives);
    if (rc < 0)
        s->unseen = rc;
    else if (rc == 1)
        (void)s->found(s->arg, &m); /* who refuses says so */
    else
        clear_away(s->host, &m, lives);
    return false;
}

static int nbd_find_one(const struct mapper_host *host, const char *id, struct mapping *ret)
{
    struct mapping_record r;
    struct mapping m;
    struct error ignored;
    bool lives;
    if (mapping_record_read(host->run_dir, KIND, id, &r, &ignored) != 1 || find_recorded(&r, &m, &lives) != 1)
        return 0;
    *ret = m;
    return 1;
}

static int nbd_find(const struct mapper_host *host, bool (*found)(void *arg, const struct mapping *m),
                    void *arg, struct error *err)
{
    struct search s = { .host = host, .found = found, .arg = arg };
    struct error also;
    int rc = mapping_record_sweep(host->run_dir, KIND, err);
    int each = mapping_record_each(host->run_dir, KIND, search_record, &s, rc < 0 ? &also : err);
    if (rc == 0 && each == 0 && s.unseen < 0)
        return error_set(err, s.unseen, "cannot look for mappings of rbd-nbd: %s", error_text(s.unseen));
    return rc < 0 ? rc : each;
}

const struct mapper mapper_nbd = {
    .name = KIND,
    .probe = nbd_probe,
    .map = nbd_map,
    .verify = nbd_verify,
    .wait_closed = nbd_wait_closed,
    .unmap = nbd_unmap,
    .health = nbd_health,
    .waits = nbd_waits,
    .reattach = nbd_reattach,
    .fail = nbd_fail,
    .alive = nbd_alive,
    .find = nbd_find,
    .find_one = nbd_find_one,
};
