/* SPDX-License-Identifier: MIT */
/* The real helper on real loop devices. */
#include "host/device.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "base/file.h"
#include "cmocka-headers.h"
#include "host/fs.h"
#include "host/mountinfo.h"
#include "host/procs.h"

#define SIZE     (1LL << 30)
#define STEP     clock_in_ms(30000)
#define DEFAULTS "noatime,nodev,nosuid"

static const char *const types[] = { "xfs", "ext4", "btrfs" };

static char dir[] = "/tmp/test-device.XXXXXX";

static const char *in_dir(const char *rest)
{
    static _Thread_local char path[8][200];
    static _Thread_local unsigned next;
    char *p = path[next++ % 8];
    (void)snprintf(p, sizeof path[0], "%s/%s", dir, rest);
    return p;
}

static int run(const char *const *argv)
{
    struct command_output out;
    struct error err = { 0 };
    const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = clock_in_ms(60000) };
    int rc = command_run(&cmd, &out, &err);
    if (rc != 0)
        print_message("%s: %d %s %s\n", argv[0], rc, err.msg, out.text);
    return rc;
}
#define RUN(...) assert_int_equal(run((const char *const[]){ __VA_ARGS__, NULL }), 0)

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static bool umount_ours(void *arg, const struct mount_entry *e)
{
    (void)arg;
    if (strncmp(e->mountpoint, dir, strlen(dir)) == 0)
        (void)umount2(e->mountpoint, UMOUNT_NOFOLLOW | MNT_DETACH);
    return false;
}

/* Also after a failed test: nothing stays mounted. */
static int remove_dir(void **state)
{
    struct error err;
    (void)state;
    (void)mountinfo_each("self", umount_ours, NULL, &err);
    (void)run((const char *const[]){ "chattr", "-R", "-i", in_dir("mnt"), NULL });
    return run((const char *const[]){ "rm", "-rf", dir, NULL });
}

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) < 0)                                                                                      \
            fail_msg("%s: %d %s", #call, err.code, err.msg);                                                 \
    } while (0)

static struct device *started(void)
{
    struct device *d = NULL;
    struct error err = { 0 };
    OK(device_start(&d, &err));
    return d;
}

static const char *image(const char *name)
{
    const char *path = in_dir(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    (void)close(fd);
    return path;
}

static struct device_mount mount_of(const char *fstype, const char *mountpoint)
{
    return (struct device_mount){
        .mountpoint = mountpoint, .fstype = fstype, .options = DEFAULTS, .volume = "rbd/db"
    };
}

/* The loop device frees itself when the last one lets go of it. */
static void expect_detached(const char *file)
{
    struct device *d = started();
    struct device_node node;
    struct error err = { 0 };
    moment deadline = clock_in_ms(5000);
    int rc;
    while ((rc = device_find(d, file, STEP, &node, &err)) == 1 && clock_left_ms(deadline))
        (void)usleep(5000);
    device_end(d);
    assert_int_equal(rc, 0);
}

static double ms_since(moment start)
{
    return (double)(clock_now() - start) / 1e6;
}

static void expect_prepared(const char *mountpoint)
{
    struct stat st;
    char path[300];
    assert_int_equal(stat(mountpoint, &st), 0);
    assert_int_equal(st.st_uid, 1000);
    assert_int_equal(st.st_gid, 2000);
    assert_int_equal(st.st_mode & 07777, 02770);
    (void)snprintf(path, sizeof path, "%s/lost+found", mountpoint);
    assert_int_equal(access(path, F_OK), -1);
}

/* It is told once nobody waits for the helper any more. */
static void await_in_utab(bool there)
{
    for (moment end = clock_in_ms(5000);; clock_pause_ms(2)) {
        auto_free char *text = NULL;
        struct error err = { 0 };
        if (file_read("/run/mount/utab", 1 << 20, &text, NULL, &err) < 0)
            text = strdup("");
        if ((strstr(text, dir) != NULL) != there) {
            assert_true(clock_left_ms(end) > 0);
            continue;
        }
        assert_true(!there || strstr(text, "x-rbdvol.volume=rbd/db"));
        assert_true(!there || strstr(text, "_netdev"));
        return;
    }
}

static int checked(struct device *d, const char *type, bool mend, struct error *err)
{
    enum grow_due due = GROW_NOT_DUE;
    int rc = device_check(d, type, mend, STEP, &due, err);
    assert_true(due == GROW_NOT_DUE || due == GROW_NEVER);
    return rc;
}

static void one_life(const char *type)
{
    struct error err = { 0 };
    struct device_probe probe;
    struct device_node node, again;
    const char *file = image(type), *point = in_dir("mnt/rbd/db");
    struct device_mount m = mount_of(type, point);
    struct device *d = started();
    OK(device_probe(d, file, STEP, &probe, &err));
    assert_int_equal(probe.found, PROBE_EMPTY);
    OK(device_format(d, file, type, "", dir, STEP, &err));
    OK(device_probe(d, file, STEP, &probe, &err));
    assert_int_equal(probe.found, PROBE_FS);
    assert_string_equal(probe.type, type);
    OK(device_attach(d, file, probe.block_size, false, STEP, &node, &err));
    assert_int_equal(device_find(d, file, STEP, &again, &err), 1);
    assert_string_equal(node.path, again.path);
    OK(device_attach(d, file, probe.block_size, false, STEP, &again, &err)); /* again: the same */
    assert_string_equal(node.path, again.path);
    OK(checked(d, type, false, &err));
    OK(device_mount(d, &m, STEP, &err));
    OK(device_mount(d, &m, STEP, &err));
    OK(device_fresh(d, point, 1000, 2000, 02770, STEP, &err));
    OK(device_fresh(d, point, 1000, 2000, 02770, STEP, &err));
    expect_prepared(point);
    device_end(d); /* the mount lives on */
    await_in_utab(true);
    d = started();
    assert_int_equal(device_find(d, file, STEP, &again, &err), 1);
    OK(device_umount(d, point, &node, false, STEP, &err));
    OK(device_umount(d, point, &node, false, STEP, &err));
    device_end(d);
    await_in_utab(false);
    expect_detached(file);
}

static void lives(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++)
        one_life(types[i]);
}

/* Made by others, on devices with small sectors: their block size must be respected, and then they mount. */
static void small_blocks(void **state)
{
    struct error err = { 0 };
    struct device_probe probe;
    struct device_node node;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const char *file = image("small"), *point = in_dir("mnt/rbd/small");
        if (i == 0)
            RUN("mkfs.xfs", "-q", "-s", "size=512", file);
        else
            RUN("mkfs.ext4", "-Fq", "-b", "1024", file);
        struct device *d = started();
        OK(device_probe(d, file, STEP, &probe, &err));
        assert_int_equal(probe.block_size, 512);
        /* with large blocks it does not, and the message says why */
        OK(device_attach(d, file, 4096, false, STEP, &node, &err));
        struct device_mount m = mount_of(types[i], point);
        assert_true(device_mount(d, &m, STEP, &err) < 0);
        print_message("%s\n", err.msg);
        assert_non_null(strstr(err.msg, "cannot mount /dev/loop"));
        assert_int_equal(device_attach(d, file, 512, false, STEP, &node, &err), -EBUSY);
        device_end(d);
        expect_detached(file);
        d = started();
        OK(device_attach(d, file, probe.block_size, false, STEP, &node, &err));
        OK(checked(d, types[i], false, &err));
        OK(device_mount(d, &m, STEP, &err));
        OK(device_umount(d, point, &node, false, STEP, &err));
        device_end(d);
    }
}

static void refuses_to_format_again(void **state)
{
    struct error err = { 0 };
    const char *file = image("again");
    (void)state;
    struct device *d = started();
    OK(device_format(d, file, "ext4", "-m+1", dir, STEP, &err));
    assert_int_equal(device_format(d, file, "xfs", "", dir, STEP, &err), -EEXIST);
    assert_int_equal(device_format(d, file, "xfs", "/dev/sda", dir, STEP, &err), -EEXIST);
    assert_int_equal(device_format(d, file, "ntfs", "", dir, STEP, &err), -EINVAL);
    device_end(d);
}

static void missing_is_not_enoent(void **state)
{
    struct error err = { 0 };
    struct device_probe probe;
    struct device_node node;
    (void)state;
    struct device *d = started();
    assert_int_equal(device_probe(d, in_dir("absent"), STEP, &probe, &err), -ENODEV);
    assert_int_equal(err.code, -ENODEV);
    assert_int_equal(device_attach(d, in_dir("absent"), 4096, false, STEP, &node, &err), -ENODEV);
    assert_int_equal(device_format(d, image("x"), "ext4", "", in_dir("absent"), STEP, &err), -ENOTDIR);
    device_end(d);
}

static void busy_umount_is_ebusy(void **state)
{
    struct error err = { 0 };
    struct device_node node;
    const char *file = image("busy"), *point = in_dir("mnt/rbd/busy");
    char who[200], want[32];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct device_mount m = mount_of(types[i], point);
        file = image("busy");
        struct device *d = started();
        OK(device_format(d, file, types[i], "", dir, STEP, &err));
        OK(device_attach(d, file, 4096, false, STEP, &node, &err));
        OK(device_mount(d, &m, STEP, &err));
        int inside = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(device_umount(d, point, &node, false, STEP, &err), -EBUSY);
        assert_int_equal(procs_pinning(node.major, node.minor, point, who, sizeof who), 1);
        (void)snprintf(want, sizeof want, "pid %d (", (int)getpid());
        if (!strstr(who, want))
            fail_msg("%s: %s", types[i], who);
        (void)close(inside);
        assert_int_equal(procs_pinning(node.major, node.minor, point, who, sizeof who), 0);
        OK(device_umount(d, point, &node, false, STEP, &err));
        device_end(d);
        expect_detached(file);
    }
}

static void refuses_other_mountpoints(void **state)
{
    struct error err = { 0 };
    struct device_node node;
    const char *file = image("other");
    struct device_mount m = mount_of("ext4", in_dir("mnt/rbd/other"));
    (void)state;
    struct device *d = started();
    assert_int_equal(device_mount(d, &m, STEP, &err), -EINVAL); /* nothing attached */
    OK(device_format(d, file, "ext4", "", dir, STEP, &err));
    OK(device_attach(d, file, 4096, false, STEP, &node, &err));
    RUN("mkdir", "-p", in_dir("mnt/rbd/taken"), in_dir("mnt/rbd/full/x"));
    m.mountpoint = in_dir("mnt/rbd/full");
    assert_int_equal(device_mount(d, &m, STEP, &err), -ENOTEMPTY);
    assert_int_equal(symlink("full", in_dir("mnt/rbd/link")), 0);
    m.mountpoint = in_dir("mnt/rbd/link");
    assert_int_equal(device_mount(d, &m, STEP, &err), -ENOTDIR);
    m.mountpoint = in_dir("mnt/rbd/taken");
    assert_int_equal(mount("squatter", m.mountpoint, "tmpfs", 0, NULL), 0);
    int rc = device_mount(d, &m, STEP, &err);
    assert_int_equal(umount2(m.mountpoint, UMOUNT_NOFOLLOW), 0);
    assert_int_equal(rc, -EEXIST);
    assert_non_null(strstr(err.msg, "squatter"));
    assert_int_equal(device_fresh(d, m.mountpoint, 0, 0, 0755, STEP, &err), -EINVAL); /* not mounted */
    device_end(d);
}

static void clones_of_xfs(void **state)
{
    struct error err = { 0 };
    struct device_node node, other;
    const char *file = image("original");
    struct device_mount m = mount_of("xfs", in_dir("mnt/rbd/original"));
    (void)state;
    struct device *d = started(), *e = started();
    OK(device_format(d, file, "xfs", "", dir, STEP, &err));
    RUN("cp", "--sparse=always", file, in_dir("clone"));
    OK(device_attach(d, file, 4096, false, STEP, &node, &err));
    OK(device_mount(d, &m, STEP, &err));
    struct device_mount c = mount_of("xfs", in_dir("mnt/rbd/clone"));
    OK(device_attach(e, in_dir("clone"), 4096, false, STEP, &other, &err));
    assert_true(device_mount(e, &c, STEP, &err) < 0);
    print_message("%s\n", err.msg);
    if (access("/dev/kmsg", R_OK) == 0)
        assert_non_null(strstr(err.msg, "nouuid"));
    c.options = DEFAULTS ",nouuid";
    OK(device_mount(e, &c, STEP, &err));
    OK(device_umount(e, c.mountpoint, &other, false, STEP, &err));
    OK(device_umount(d, m.mountpoint, &node, false, STEP, &err));
    device_end(d);
    device_end(e);
}

static void read_only(void **state)
{
    struct error err = { 0 };
    struct device_node node;
    const char *file = image("ro");
    struct device_mount m = mount_of("ext4", in_dir("mnt/rbd/ro"));
    (void)state;
    struct device *d = started();
    OK(device_format(d, file, "ext4", "", dir, STEP, &err));
    OK(device_attach(d, file, 4096, true, STEP, &node, &err));
    assert_int_equal(device_attach(d, file, 4096, false, STEP, &node, &err), -EBUSY);
    OK(checked(d, "ext4", false, &err));
    assert_true(device_mount(d, &m, STEP, &err) < 0); /* never read-only unasked */
    m.options = "ro";
    OK(device_mount(d, &m, STEP, &err));
    assert_int_equal(mkdir(in_dir("mnt/rbd/ro/x"), 0700), -1);
    assert_int_equal(errno, EROFS);
    OK(device_umount(d, m.mountpoint, &node, false, STEP, &err));
    device_end(d);
}

static void damaged_ext4(void **state)
{
    struct error err = { 0 };
    struct device_node node;
    const char *file = image("damaged");
    (void)state;
    struct device *d = started();
    OK(device_format(d, file, "ext4", "", dir, STEP, &err));
    RUN("debugfs", "-w", "-R", "clri <2>", file);
    RUN("debugfs", "-w", "-R", "ssv state 2", file);
    OK(device_attach(d, file, 4096, false, STEP, &node, &err));
    assert_int_equal(checked(d, "ext4", false, &err), -EUCLEAN);
    assert_non_null(strstr(err.msg, "fsck.ext4 -f"));
    assert_non_null(strstr(err.msg, "UNEXPECTED INCONSISTENCY"));
    assert_int_equal(checked(d, "xfs", false, &err), 0);
    OK(checked(d, "ext4", true, &err)); /* it is of our own making, we say */
    OK(checked(d, "ext4", false, &err));
    device_end(d);
}

/* Where the kernel does not grow a mounted ext4 for us, it is due before; as far as its tables have room. */
static void ext4_that_must_grow_before_it_is_mounted(void **state)
{
    struct error err = { 0 };
    struct device_node node;
    enum grow_due due = GROW_NOT_DUE;
    const char *file = image("cramped");
    (void)state;
    struct device *d = started();
    OK(device_format(d, file, "ext4", "", dir, STEP, &err));
    RUN("truncate", "-s", "2G", file);
    OK(device_attach(d, file, 4096, false, STEP, &node, &err));
    OK(device_check(d, "ext4", false, STEP, &due, &err));
    bool here = due == GROW_DUE; /* not with CAP_SYS_RESOURCE */
    OK(device_enlarge(d, STEP, &err));
    OK(device_check(d, "ext4", false, STEP, &due, &err));
    assert_int_equal(due, GROW_NEVER); /* it fills its device */
    device_end(d);
    RUN("truncate", "-s", "4T", file);
    OK(device_attach(d = started(), file, 4096, false, STEP, &node, &err));
    OK(device_check(d, "ext4", false, STEP, &due, &err));
    assert_int_equal(due, here ? GROW_TOO_FAR : GROW_NOT_DUE);
    device_end(d);
}

struct helper {
    pid_t pid;
    uint64_t start;
};

static bool is_child(void *arg, pid_t pid, char *const *argv)
{
    struct helper *h = arg;
    char path[64], line[512];
    struct error err;
    int parent = 0;
    (void)argv;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (file_read_line(path, line, sizeof line, &err) == 0)
        (void)sscanf(strrchr(line, ')') + 1, " %*c %d", &parent);
    uint64_t start;
    /* The newest: one of an earlier test may still be dying. */
    if (parent == getpid() && procs_start_time(pid, &start) == 0 && start >= h->start) {
        h->pid = pid;
        h->start = start;
    }
    return false;
}

static pid_t helper_pid(void)
{
    struct helper h = { 0 };
    moment deadline = clock_in_ms(2000);
    while (h.pid == 0 && clock_left_ms(deadline)) /* its argv is not there yet for an instant after exec */
        procs_each("rbdvol-device", is_child, &h);
    assert_true(h.pid > 0);
    return h.pid;
}

static void a_hanging_helper_is_left_behind(void **state)
{
    struct error err = { 0 };
    struct device_probe probe;
    const char *file = image("hang");
    (void)state;
    struct device *d = started();
    OK(device_probe(d, file, STEP, &probe, &err));
    pid_t pid = helper_pid();
    uint64_t start = 0;
    assert_int_equal(procs_start_time(pid, &start), 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    moment t0 = clock_now();
    assert_int_equal(device_probe(d, file, clock_in_ms(300), &probe, &err), -ETIMEDOUT);
    assert_in_range(clock_since_ms(t0), 290, 900);
    assert_non_null(strstr(err.msg, "did not finish within 1 s"));
    t0 = clock_now();
    assert_int_equal(device_probe(d, file, STEP, &probe, &err), -ENOTCONN);
    device_end(d);
    assert_in_range(clock_since_ms(t0), 0, 500);
    moment deadline = clock_in_ms(2000);
    while (procs_alive(pid, start) && clock_left_ms(deadline))
        (void)usleep(1000);
    assert_false(procs_alive(pid, start));
}

static void a_helper_that_hangs_as_it_rests_is_left_behind(void **state)
{
    (void)state;
    struct device *d = started();
    assert_int_equal(kill(helper_pid(), SIGSTOP), 0);
    moment t0 = clock_now();
    device_end(d); /* nobody waits for it before somebody needs it */
    device_end(started());
    assert_in_range(clock_since_ms(t0), 1900, 4000);
}

static void a_dead_helper_is_told(void **state)
{
    struct error err = { 0 };
    struct device_probe probe;
    (void)state;
    struct device *d = started();
    assert_int_equal(kill(helper_pid(), SIGKILL), 0);
    assert_int_equal(device_probe(d, image("dead"), STEP, &probe, &err), -EIO);
    assert_int_equal(device_probe(d, image("dead"), STEP, &probe, &err), -ENOTCONN);
    device_end(d);
    device_end(NULL);
}

static void the_helper_keeps_little(void **state)
{
    struct error err = { 0 };
    struct device_probe probe;
    char path[64];
    auto_free char *text = NULL;
    (void)state;
    struct device *d = started();
    OK(device_probe(d, image("caps"), STEP, &probe, &err)); /* it has dropped them by its first answer */
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)helper_pid());
    OK(file_read(path, 65536, &text, NULL, &err));
    unsigned long long effective = 0, bounding = 0;
    assert_int_equal(sscanf(strstr(text, "CapEff:"), "CapEff: %llx", &effective), 1);
    assert_int_equal(sscanf(strstr(text, "CapBnd:"), "CapBnd: %llx", &bounding), 1);
    assert_int_equal(effective & (1ULL << 21), 1ULL << 21); /* CAP_SYS_ADMIN */
    assert_int_equal(effective & ~bounding, 0);
    assert_int_equal(__builtin_popcountll(effective), 11);
    assert_int_equal(bounding & (1ULL << 16 | 1ULL << 19 | 1ULL << 12), 0); /* modules, ptrace, network */
    assert_non_null(strstr(text, "NoNewPrivs:\t1"));
    device_end(d);
}

#define MANY 16

static void *attach_one(void *arg)
{
    const unsigned *n = arg;
    char name[16];
    struct device *d = NULL;
    struct error err = { 0 };
    struct device_node node;
    (void)snprintf(name, sizeof name, "many%u", *n);
    if (device_start(&d, &err) == 0 && device_attach(d, in_dir(name), 4096, false, STEP, &node, &err) == 0)
        return d;
    print_message("%s: %s\n", name, err.msg);
    device_end(d);
    return NULL;
}

static void many_at_once(void **state)
{
    pthread_t threads[MANY];
    unsigned numbers[MANY], good = 0;
    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "many%u", i);
        (void)image(name);
        numbers[i] = i;
    }
    moment t0 = clock_now();
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, attach_one, &numbers[i]), 0);
    void *d[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        (void)pthread_join(threads[i], &d[i]);
        good += d[i] != NULL;
    }
    print_message("%d helpers started and attached at once: %.1f ms\n", MANY, ms_since(t0));
    for (unsigned i = 0; i < MANY; i++)
        device_end(d[i]);
    assert_int_equal(good, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives),
        cmocka_unit_test(small_blocks),
        cmocka_unit_test(refuses_to_format_again),
        cmocka_unit_test(missing_is_not_enoent),
        cmocka_unit_test(busy_umount_is_ebusy),
        cmocka_unit_test(refuses_other_mountpoints),
        cmocka_unit_test(clones_of_xfs),
        cmocka_unit_test(read_only),
        cmocka_unit_test(damaged_ext4),
        cmocka_unit_test(ext4_that_must_grow_before_it_is_mounted),
        cmocka_unit_test(a_hanging_helper_is_left_behind),
        cmocka_unit_test(a_helper_that_hangs_as_it_rests_is_left_behind),
        cmocka_unit_test(a_dead_helper_is_told),
        cmocka_unit_test(the_helper_keeps_little),
        cmocka_unit_test(many_at_once),
    };
    if (getuid() != 0 || access("/dev/loop-control", R_OK | W_OK) != 0) {
        print_message("needs root and loop devices\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
