/* SPDX-License-Identifier: MIT */
/* The floor under a volume's life: the same calls of libraries and of the system as rbdvol makes, in a
 * straight line, by one process that is connected already, without requests, state, helpers, or a look at
 * anything that may be wrong.
 *
 *   floor create CONF POOL IMAGE MIB FSTYPE SCRATCH    makes a formatted image; prints its milliseconds
 *   floor cycle CONF POOL IMAGE FSTYPE DIR MAPPER N    mounts and unmounts it N times; prints both, a line
 *                                                      each time
 *   floor list CONF POOL N                             lists the pool's images N times; prints ms and how
 * many floor fill CONF POOL PREFIX N                      makes N images of 1 MiB floor locks CONF POOL
 * prints each lock on an image, and its first owner floor krbd CONF POOL IMAGE FSTYPE DIR LINE N       the
 * same, by the kernel's driver; LINE maps it
 *
 * What fails ends it with a line that says what. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <rados/librados.h>
#include <rbd/librbd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/channel.h"

#define CHUNK    (4U << 20)
#define MIB      (1ULL << 20)
#define SPEC     "{\"version\":1,\"fstype\":\"%s\"}"
#define SPEC_KEY "metadata_rbdvol.spec"

struct cluster {
    rados_t rados;
    rados_ioctx_t io;
    const char *conf, *pool;
};

static __attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "floor: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static void must(int rc, const char *what)
{
    if (rc < 0)
        die("%s: %s", what, strerror(-rc));
}

static void sys_must(long rc, const char *what)
{
    if (rc < 0)
        die("%s: %s", what, strerror(errno));
}

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void cluster_connect(struct cluster *c)
{
    must(rados_create(&c->rados, "admin"), "rados_create");
    must(rados_conf_read_file(c->rados, c->conf), c->conf);
    must(rados_connect(c->rados), "rados_connect");
    must(rados_ioctx_create(c->rados, c->pool, &c->io), c->pool);
}

static void run(const char *const argv[])
{
    int status;
    pid_t pid = vfork();
    sys_must(pid, "vfork");
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        (void)dup2(null, STDOUT_FILENO);
        (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    sys_must(waitpid(pid, &status, 0), argv[0]);
    if (status != 0)
        die("%s failed", argv[0]);
}

/* ---- create ---- */

static int scratch_make(const char *dir, uint64_t size, const char *fstype)
{
    char path[] = "/proc/self/fd/2147483647";
    int fd = open(dir, O_TMPFILE | O_RDWR, 0600);
    sys_must(fd, dir);
    sys_must(ftruncate(fd, (off_t)size), "ftruncate");
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (strcmp(fstype, "xfs") == 0)
        run((const char *[]){ "mkfs.xfs", "-q", "-f", "-K", path, NULL });
    else
        run((const char *[]){ "mkfs.ext4", "-q", "-F", "-E", "nodiscard", path, NULL });
    return fd;
}

static void copy(int fd, rbd_image_t image)
{
    char *buffer = malloc(CHUNK);
    off_t end = 0;
    for (off_t data; (data = lseek(fd, end, SEEK_DATA)) >= 0;) {
        end = lseek(fd, data, SEEK_HOLE);
        for (off_t at = data; at < end;) {
            size_t want = (size_t)(end - at) < CHUNK ? (size_t)(end - at) : CHUNK;
            ssize_t n = pread(fd, buffer, want, at);
            sys_must(n, "read");
            must((int)rbd_write(image, (uint64_t)at, (size_t)n, buffer), "rbd_write");
            at += n;
        }
    }
    free(buffer);
    must(rbd_flush(image), "rbd_flush");
}

static void create(struct cluster *c, const char *name, uint64_t size, const char *fstype,
                   const char *scratch)
{
    char temporary[256], spec[128];
    rbd_image_t image;
    rbd_image_options_t opts;
    double begin = now_ms();
    (void)snprintf(temporary, sizeof temporary, "%s.new", name);
    (void)snprintf(spec, sizeof spec, SPEC, fstype);
    rbd_image_options_create(&opts);
    must(rbd_image_options_set_uint64(opts, RBD_IMAGE_OPTION_FORMAT, 2), "format");
    must(rbd_create4(c->io, temporary, size, opts), "rbd_create4");
    rbd_image_options_destroy(opts);
    int fd = scratch_make(scratch, size, fstype);
    must(rbd_open(c->io, temporary, &image, NULL), "rbd_open");
    copy(fd, image);
    must(rbd_metadata_set(image, "rbdvol.spec", spec), "rbd_metadata_set");
    must(rbd_close(image), "rbd_close");
    must(rbd_rename(c->io, temporary, name), "rbd_rename");
    (void)close(fd);
    (void)printf("%.3f\n", now_ms() - begin);
}

/* ---- mount and unmount ---- */

struct volume {
    const char *name, *fstype, *dir, *mapper;
    char id[64], header[96], file[400], socket[400], point[400], loop[32];
    int fuse, listening, control, loop_fd;
    pid_t pid;
};

/* The name's id, and what the header says of the volume. */
static void look(struct cluster *c, struct volume *v)
{
    char object[256], data[64] = { 0 };
    const char *keys[] = { SPEC_KEY };
    size_t lens[] = { sizeof SPEC_KEY - 1 };
    rados_omap_iter_t iter;
    int inner = 0;
    (void)snprintf(object, sizeof object, "rbd_id.%s", v->name);
    must(rados_read(c->io, object, data, sizeof data - 1, 0), object);
    (void)snprintf(v->id, sizeof v->id, "%s", data + 4);
    (void)snprintf(v->header, sizeof v->header, "rbd_header.%s", v->id);
    rados_read_op_t op = rados_create_read_op();
    rados_read_op_omap_get_vals_by_keys2(op, keys, 1, lens, &iter, &inner);
    must(rados_read_op_operate(op, c->io, v->header, 0), v->header);
    rados_omap_get_end(iter);
    rados_release_read_op(op);
}

static void fuse_begin(struct volume *v)
{
    char data[128];
    int target = open(v->file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    sys_must(target, v->file);
    (void)close(target);
    v->fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    sys_must(v->fuse, "/dev/fuse");
    (void)snprintf(data, sizeof data, "fd=%d,rootmode=100000,user_id=0,group_id=0,max_read=1048576", v->fuse);
    sys_must(mount("floor", v->file, "fuse.rbdvol-floor", MS_NOSUID | MS_NODEV | MS_NOEXEC, data),
             "mount of fuse");
}

static void mapper_start(struct cluster *c, struct volume *v)
{
    struct error err;
    char words[5][512];
    v->listening = channel_listen(v->socket, &err);
    must(v->listening, "channel_listen");
    (void)snprintf(words[0], sizeof words[0], "--pool=%s", c->pool);
    (void)snprintf(words[1], sizeof words[1], "--image=%s", v->name);
    (void)snprintf(words[2], sizeof words[2], "--image-id=%s", v->id);
    (void)snprintf(words[3], sizeof words[3], "--conf=%s", c->conf);
    const char *argv[] = {
        "floor-mapper",   "--instance=floor", "--mapping=floor",    words[0], words[1], words[2], words[3],
        "--cluster=ceph", "--user=admin",     "--connect-ms=15000", NULL
    };
    v->pid = vfork();
    sys_must(v->pid, "vfork");
    if (v->pid == 0) {
        /* above what they are to become, so that neither overwrites the other */
        int fuse = fcntl(v->fuse, F_DUPFD, 100), listening = fcntl(v->listening, F_DUPFD, 100);
        (void)dup2(fuse, 3);
        (void)dup2(listening, 4);
        (void)close_range(5, ~0U, 0);
        (void)execv(v->mapper, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    (void)close(v->fuse);
    (void)close(v->listening);
}

/* Asks the mapper; it must agree. */
static void ask(struct volume *v, const char *what)
{
    struct error err;
    json_t *request = json_pack("{s:s, s:i}", "do", what, "ms", 5000);
    if (channel_call(v->control, request, clock_in_ms(20000), NULL, &err) < 0)
        die("%s: %s", what, err.msg);
    json_decref(request);
}

static void loop_begin(struct volume *v)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file = open(v->file, O_RDWR | O_CLOEXEC);
    sys_must(control, "/dev/loop-control");
    sys_must(file, v->file);
    struct loop_config config = { .fd = (__u32)file,
                                  .info = { .lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO } };
    for (int tries = 0;; tries++) { /* another may take the same one */
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        sys_must(number, "LOOP_CTL_GET_FREE");
        (void)snprintf(v->loop, sizeof v->loop, "/dev/loop%d", number);
        v->loop_fd = open(v->loop, O_RDWR | O_CLOEXEC);
        sys_must(v->loop_fd, v->loop);
        if (ioctl(v->loop_fd, LOOP_CONFIGURE, &config) == 0)
            break;
        if (errno != EBUSY || tries == 100)
            die("LOOP_CONFIGURE: %s", strerror(errno));
        (void)close(v->loop_fd);
    }
    (void)close(file);
    (void)close(control);
}

static void volume_mount(struct cluster *c, struct volume *v)
{
    struct error err;
    look(c, v);
    must(rados_lock_exclusive(c->io, v->header, "rbdvol.ctl", "floor", "", NULL, 0), "rados_lock_exclusive");
    fuse_begin(v);
    mapper_start(c, v);
    v->control = channel_connect(v->socket, &err);
    must(v->control, "channel_connect");
    ask(v, "wait-ready");
    must(rados_lock_exclusive(c->io, v->header, "rbdvol", "floor", "", NULL, 0), "rados_lock_exclusive");
    must(rados_unlock(c->io, v->header, "rbdvol.ctl", "floor"), "rados_unlock");
    loop_begin(v);
    sys_must(mount(v->loop, v->point, v->fstype, MS_NODEV | MS_NOSUID | MS_NOATIME, ""), "mount");
    (void)close(v->loop_fd);
}

static void volume_unmount(struct cluster *c, struct volume *v)
{
    sys_must(umount2(v->point, UMOUNT_NOFOLLOW), "umount2");
    ask(v, "wait-closed"); /* the loop device lets go of it a moment later */
    sys_must(umount2(v->file, UMOUNT_NOFOLLOW), "umount2 of the file");
    ask(v, "stop");
    (void)close(v->control);
    (void)waitpid(v->pid, NULL, 0);
    must(rados_unlock(c->io, v->header, "rbdvol", "floor"), "rados_unlock");
    (void)unlink(v->socket);
    (void)unlink(v->file);
}

/* One write, whole. */
static void krbd_write(const char *file, const char *text)
{
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    sys_must(fd, file);
    sys_must(write(fd, text, strlen(text)), file);
    (void)close(fd);
}

static void krbd_mount(struct cluster *c, struct volume *v, const char *line)
{
    look(c, v);
    must(rados_lock_exclusive(c->io, v->header, "rbdvol.ctl", "floor", "", NULL, 0), "rados_lock_exclusive");
    krbd_write("/sys/bus/rbd/add_single_major", line);
    must(rados_lock_exclusive(c->io, v->header, "rbdvol", "floor", "", NULL, 0), "rados_lock_exclusive");
    must(rados_unlock(c->io, v->header, "rbdvol.ctl", "floor"), "rados_unlock");
    sys_must(mount("/dev/rbd0", v->point, v->fstype, MS_NODEV | MS_NOSUID | MS_NOATIME, ""), "mount");
}

static void krbd_unmount(struct cluster *c, struct volume *v)
{
    sys_must(umount2(v->point, UMOUNT_NOFOLLOW), "umount2");
    krbd_write("/sys/bus/rbd/remove_single_major", "0");
    must(rados_unlock(c->io, v->header, "rbdvol", "floor"), "rados_unlock");
}

/* No other mapping may be there: it is /dev/rbd0. */
static void cycle_krbd(struct cluster *c, const char *name, const char *fstype, const char *dir,
                       const char *line, int times)
{
    struct volume v = { .name = name, .fstype = fstype };
    (void)snprintf(v.point, sizeof v.point, "%s/%s", dir, name);
    (void)mkdir(v.point, 0700);
    for (int i = 0; i < times; i++) {
        double begin = now_ms();
        krbd_mount(c, &v, line);
        double mounted = now_ms();
        krbd_unmount(c, &v);
        (void)printf("%.3f %.3f\n", mounted - begin, now_ms() - mounted);
    }
    (void)rmdir(v.point);
}

static void cycle(struct cluster *c, const char *name, const char *fstype, const char *dir,
                  const char *mapper, int times)
{
    struct volume v = { .name = name, .fstype = fstype, .dir = dir, .mapper = mapper };
    (void)snprintf(v.file, sizeof v.file, "%s/%s.img", dir, name);
    (void)snprintf(v.socket, sizeof v.socket, "%s/%s.sock", dir, name);
    (void)snprintf(v.point, sizeof v.point, "%s/%s", dir, name);
    (void)mkdir(v.point, 0700);
    for (int i = 0; i < times; i++) {
        double begin = now_ms();
        volume_mount(c, &v);
        double mounted = now_ms();
        volume_unmount(c, &v);
        (void)printf("%.3f %.3f\n", mounted - begin, now_ms() - mounted);
        (void)fflush(stdout);
    }
    (void)rmdir(v.point);
}

/* ---- names ---- */

static void list(struct cluster *c, int times)
{
    for (int i = 0; i < times; i++) {
        double begin = now_ms();
        size_t n = 0;
        (void)rbd_list2(c->io, NULL, &n);
        rbd_image_spec_t *images = calloc(n + 1, sizeof *images);
        must(rbd_list2(c->io, images, &n), "rbd_list2");
        (void)printf("%.3f %zu\n", now_ms() - begin, n);
        rbd_image_spec_list_cleanup(images, n);
        free(images);
    }
}

static void fill(struct cluster *c, const char *prefix, int n)
{
    char name[256];
    for (int i = 0; i < n; i++) {
        int order = 0;
        (void)snprintf(name, sizeof name, "%s%d", prefix, i);
        must(rbd_create2(c->io, name, MIB, 0, &order), "rbd_create2");
    }
}

static void locks_of(struct cluster *c, const char *header)
{
    static const char *const names[] = { "rbd_lock", "rbdvol", "rbdvol.ctl" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char tag[256], clients[4096], cookies[4096], addrs[4096];
        int exclusive;
        size_t tag_len = sizeof tag, clients_len = sizeof clients, cookies_len = sizeof cookies,
               addrs_len = sizeof addrs;
        ssize_t n = rados_list_lockers(c->io, header, names[i], &exclusive, tag, &tag_len, clients,
                                       &clients_len, cookies, &cookies_len, addrs, &addrs_len);
        if (n > 0)
            (void)printf("%s %s %s %s\n", header, names[i], clients, cookies);
    }
}

static void locks(struct cluster *c)
{
    rados_list_ctx_t objects;
    const char *name;
    must(rados_nobjects_list_open(c->io, &objects), "rados_nobjects_list_open");
    while (rados_nobjects_list_next(objects, &name, NULL, NULL) == 0)
        if (strncmp(name, "rbd_header.", 11) == 0)
            locks_of(c, name);
    rados_nobjects_list_close(objects);
}

static void begin(void)
{
    (void)printf("ready\n");
    (void)fflush(stdout);
    if (getchar() == EOF)
        exit(0);
}

int main(int argc, char **argv)
{
    const char *verb = argc > 3 ? argv[1] : "";
    struct cluster c = { .conf = argv[2], .pool = argv[3] };
    bool creates = argc == 8 && strcmp(verb, "create") == 0, cycles = argc == 9 && strcmp(verb, "cycle") == 0;
    bool lists = argc == 5 && strcmp(verb, "list") == 0, fills = argc == 6 && strcmp(verb, "fill") == 0;
    bool krbd = argc == 9 && strcmp(verb, "krbd") == 0;
    bool lockers = argc == 4 && strcmp(verb, "locks") == 0;
    if (!creates && !cycles && !lists && !fills && !krbd && !lockers)
        die("the head of its source says what it knows");
    cluster_connect(&c);
    begin();
    if (creates)
        create(&c, argv[4], strtoull(argv[5], NULL, 10) * MIB, argv[6], argv[7]);
    else if (cycles)
        cycle(&c, argv[4], argv[5], argv[6], argv[7], atoi(argv[8]));
    else if (krbd)
        cycle_krbd(&c, argv[4], argv[5], argv[6], argv[7], atoi(argv[8]));
    else if (lists)
        list(&c, atoi(argv[4]));
    else if (lockers)
        locks(&c);
    else
        fill(&c, argv[4], atoi(argv[5]));
    rados_ioctx_destroy(c.io);
    rados_shutdown(c.rados);
    return 0;
}
