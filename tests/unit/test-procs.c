/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/command.h"
#include "cmocka-headers.h"
#include "host/procs.h"

static char dir[] = "/tmp/test-procs.XXXXXX"; /* a tmpfs that is shared */
static char volume[64];                       /* another one in it, which plays the volume */
static unsigned dev_major, dev_minor;

static int mount_volume(void **state)
{
    struct stat st;
    (void)state;
    if (getuid() != 0)
        return 0;
    if (!mkdtemp(dir) || mount("outer", dir, "tmpfs", 0, NULL) < 0 ||
        mount(NULL, dir, NULL, MS_SHARED, NULL) < 0)
        return -1;
    (void)snprintf(volume, sizeof volume, "%s/volume", dir);
    if (mkdir(volume, 0755) < 0 || mount("volume", volume, "tmpfs", 0, NULL) < 0 || stat(volume, &st) < 0)
        return -1;
    dev_major = major(st.st_dev);
    dev_minor = minor(st.st_dev);
    return 0;
}

static int umount_volume(void **state)
{
    (void)state;
    if (getuid() != 0)
        return 0;
    return umount2(volume, UMOUNT_NOFOLLOW) | umount2(dir, UMOUNT_NOFOLLOW) | rmdir(dir);
}

/* A child that does something, says so, and waits to be ended. */
static pid_t child(void (*act)(void))
{
    int pipes[2];
    char c;
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (act)
            act();
        (void)!write(pipes[1], "x", 1);
        for (;;)
            (void)pause();
    }
    (void)close(pipes[1]);
    ssize_t n = read(pipes[0], &c, 1);
    (void)close(pipes[0]);
    assert_true(pid > 0);
    assert_int_equal(n, 1); /* 0: the child failed */
    return pid;
}

static void end(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void start_time_names_a_process(void **state)
{
    uint64_t mine = 0, again = 0, theirs = 0;
    (void)state;
    assert_int_equal(procs_start_time(getpid(), &mine), 0);
    assert_int_equal(procs_start_time(getpid(), &again), 0);
    assert_true(mine > 0);
    assert_int_equal(mine, again);
    assert_int_equal(procs_start_time(1, &theirs), 0);
    assert_true(theirs <= mine);
    assert_int_equal(procs_start_time(4194305, &theirs), -ESRCH);
}

static void odd_names_do_not_confuse(void)
{
    (void)prctl(PR_SET_NAME, ") Z 1 (\n2)");
}

static void alive(void **state)
{
    uint64_t start = 0;
    siginfo_t info;
    (void)state;
    pid_t pid = child(odd_names_do_not_confuse);
    assert_int_equal(procs_start_time(pid, &start), 0);
    assert_true(procs_alive(pid, start));
    assert_false(procs_alive(pid, start + 1));
    assert_false(procs_alive(0, start));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_false(procs_alive(pid, start)); /* a zombie */
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(procs_alive(pid, start));
}

struct seen {
    pid_t want;
    unsigned times;
};

static bool visit(void *arg, pid_t pid, char *const *argv)
{
    struct seen *s = arg;
    assert_string_equal(argv[0], "@test-procs");
    assert_string_equal(argv[1], "60");
    assert_null(argv[2]);
    s->times += pid == s->want;
    return false;
}

static void finds_by_argv0(void **state)
{
    const char *argv[] = { "@test-procs", "60", NULL };
    struct error err = { 0 };
    struct seen seen = { 0 };
    (void)state;
    char own[] = "/tmp/test-procs.XXXXXX", program[64];
    assert_non_null(mkdtemp(own));
    (void)snprintf(program, sizeof program, "%s/test-procs", own);
    assert_int_equal(symlink("/bin/sleep", program), 0);
    assert_int_equal(command_spawn(program, argv, NULL, 0, &seen.want, &err), 0);
    moment deadline = clock_in_ms(2000);
    do /* its argv is not there yet for an instant after exec */
        procs_each("@test-procs", visit, &seen);
    while (!seen.times && clock_left_ms(deadline));
    end(seen.want);
    assert_int_equal(seen.times, 1);
    assert_int_equal(unlink(program), 0);
    assert_int_equal(rmdir(own), 0);
    procs_each("@test-procs-none", visit, &seen);
    assert_int_equal(seen.times, 1);
}

struct hung {
    pid_t want;
    unsigned read, unread;
};

static bool visit_hung(void *arg, pid_t pid, char *const *argv)
{
    struct hung *h = arg;
    h->read += pid == h->want && argv;
    h->unread += pid == h->want && !argv;
    return false;
}

/* Of ours only: those of others are at work. And only when it waits for its next task: one that is stopped
 * before it has said that it let go of the last is replaced. */
static bool stop_reader(void *arg, pid_t pid)
{
    char path[64], name[128], state = 0;
    int parent = 0;
    procs_name(pid, name, sizeof name);
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%*d (%*[^)]) %c %d", &state, &parent) != 2)
        parent = 0;
    if (f)
        (void)fclose(f);
    if (parent == (int)getpid() && state == 'S' && strstr(name, "(rbdvol-device)") && kill(pid, SIGSTOP) == 0)
        ++*(unsigned *)arg;
    return false;
}

/* A program of this name, and who it is; forget() takes both away. */
struct named {
    char own[32], program[64];
    struct hung seen;
};

static void start_named(struct named *n, const char *name)
{
    const char *argv[] = { name, "60", NULL };
    struct error err = { 0 };
    *n = (struct named){ .own = "/tmp/test-procs.XXXXXX" };
    assert_non_null(mkdtemp(n->own));
    (void)snprintf(n->program, sizeof n->program, "%s/%s", n->own, name);
    assert_int_equal(symlink("/bin/sleep", n->program), 0);
    assert_int_equal(command_spawn(n->program, argv, NULL, 0, &n->seen.want, &err), 0);
    moment deadline = clock_in_ms(5000);
    do
        procs_each(name, visit_hung, &n->seen);
    while (!n->seen.read && clock_left_ms(deadline));
    assert_int_equal(n->seen.unread, 0);
    n->seen.read = 0;
}

static void forget(struct named *n)
{
    end(n->seen.want);
    assert_int_equal(unlink(n->program), 0);
    assert_int_equal(rmdir(n->own), 0);
}

/* Does this to the idle reader, which is taken next. */
static void to_the_reader(bool (*visit_it)(void *arg, pid_t pid))
{
    unsigned readers = 0;
    moment deadline = clock_in_ms(5000);
    do
        (void)procs_each_pid(visit_it, &readers);
    while (!readers && clock_left_ms(deadline));
    assert_int_equal(readers, 1);
}

/* Whoever reads the argv of such a process hangs with it: here the reader is stopped instead. */
static void one_that_cannot_be_read_is_told_as_such(void **state)
{
    static const char name[] = "test-procs-hung";
    struct named n;
    (void)state;
    start_named(&n, name);
    to_the_reader(stop_reader);
    moment begin = clock_now();
    procs_each(name, visit_hung, &n.seen);
    assert_true(clock_since_ms(begin) < 30000);
    begin = clock_now();
    for (int i = 0; i < 10; i++) /* it is not waited for each time */
        procs_each(name, visit_hung, &n.seen);
    assert_true(clock_since_ms(begin) < 3000);
    forget(&n);
    assert_int_equal(n.seen.read, 0);
    assert_int_equal(n.seen.unread, 11);
}

static bool kill_reader(void *arg, pid_t pid)
{
    unsigned stopped = 0;
    if (stop_reader(&stopped, pid) || !stopped)
        return false;
    ++*(unsigned *)arg;
    assert_int_equal(kill(pid, SIGKILL), 0);
    return false;
}

/* Whose reader is killed (by the kernel, for want of memory) is not gone for that. */
static void one_whose_reader_is_killed_is_read_by_the_next(void **state)
{
    static const char name[] = "test-procs-read";
    struct named n;
    (void)state;
    start_named(&n, name);
    to_the_reader(kill_reader);
    procs_each(name, visit_hung, &n.seen);
    forget(&n);
    assert_int_equal(n.seen.read, 1);
    assert_int_equal(n.seen.unread, 0);
}

static bool visit_none(void *arg, pid_t pid, char *const *argv)
{
    (void)arg;
    (void)pid;
    (void)argv;
    return false;
}

/* In a child, since the test itself needs descriptors. */
static void without_descriptors_nobody_is_said_to_be_absent(void **state)
{
    int status;
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char who[200] = "";
        const struct rlimit none = { .rlim_cur = 3, .rlim_max = 3 };
        bool refused = setrlimit(RLIMIT_NOFILE, &none) == 0 &&
                       procs_each("@test-procs", visit_none, NULL) == -EMFILE &&
                       procs_pinning(dev_major, dev_minor, volume, who, sizeof who) == 1 &&
                       strstr(who, "cannot be looked at");
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void expect_pinned(pid_t pid, const char *how)
{
    char who[200], want[32];
    int rc = procs_pinning(dev_major, dev_minor, volume, who, sizeof who);
    end(pid);
    assert_int_equal(rc, 1);
    (void)snprintf(want, sizeof want, "pid %d (", (int)pid);
    if (!strstr(who, want) || !strstr(who, how))
        fail_msg("'%s' lacks '%s' or '%s'", who, want, how);
}

static void stand_in_it(void)
{
    if (chdir(volume) < 0)
        _exit(1);
}

static void open_in_it(void)
{
    char path[100];
    (void)snprintf(path, sizeof path, "%s/file", volume);
    if (open(path, O_RDWR | O_CREAT, 0600) < 0)
        _exit(1);
}

static void root_in_it(void)
{
    if (chroot(volume) < 0)
        _exit(1);
}

static void leave_by(unsigned long propagation)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | propagation, NULL) < 0)
        _exit(1);
}

static void private_namespace(void)
{
    leave_by(MS_PRIVATE);
}

static void slave_namespace(void)
{
    leave_by(MS_SLAVE);
}

static void container_like(void)
{
    leave_by(MS_SLAVE);
    if (mkdir("/tmp/test-procs.data", 0700) < 0 && errno != EEXIST)
        _exit(1);
    if (mount(volume, "/tmp/test-procs.data", NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, "/tmp/test-procs.data", NULL, MS_PRIVATE, NULL) < 0)
        _exit(1);
}

static void sees_who_stands_in_it(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    expect_pinned(child(stand_in_it), "working directory");
    expect_pinned(child(open_in_it), "open file");
    expect_pinned(child(root_in_it), "root directory");
}

static void sees_nobody(void **state)
{
    char who[200] = "x";
    (void)state;
    if (getuid() != 0)
        skip();
    pid_t pid = child(NULL);
    int rc = procs_pinning(dev_major, dev_minor, volume, who, sizeof who);
    end(pid);
    assert_int_equal(rc, 0);
    assert_string_equal(who, "");
    /* without the exception our own mountpoint is one */
    assert_int_equal(procs_mounted_elsewhere(dev_major, dev_minor, NULL, who, sizeof who), 1);
    assert_non_null(strstr(who, volume));
}

static int elsewhere_with(void (*act)(void), char *who, size_t size)
{
    pid_t pid = child(act);
    int rc = procs_mounted_elsewhere(dev_major, dev_minor, volume, who, size);
    end(pid);
    return rc;
}

static void sees_other_namespaces(void **state)
{
    char who[200];
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(elsewhere_with(stand_in_it, who, sizeof who), 0);
    assert_int_equal(elsewhere_with(private_namespace, who, sizeof who), 1);
    assert_non_null(strstr(who, volume));
    assert_int_equal(elsewhere_with(container_like, who, sizeof who), 1);
    assert_non_null(strstr(who, "/tmp/test-procs.data"));
    assert_int_equal(rmdir("/tmp/test-procs.data"), 0);
}

/* Services with PrivateTmp and the like have such a namespace: umount takes their copy with ours. */
static void does_not_count_propagated_copies(void **state)
{
    char who[200];
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(elsewhere_with(slave_namespace, who, sizeof who), 0);
}

/* A managed plugin's volumes are mounted elsewhere on the host, too: what is below them is shared. umount
 * takes those copies along; what is bound out of one stays. */
static void does_not_count_copies_at_other_paths(void **state)
{
    char who[200], copy[100], other[100];
    struct stat st;
    (void)state;
    if (getuid() != 0)
        skip();
    char peer[] = "/tmp/test-procs.XXXXXX";
    assert_non_null(mkdtemp(peer));
    assert_int_equal(mount(dir, peer, NULL, MS_BIND | MS_REC, NULL), 0);
    (void)snprintf(copy, sizeof copy, "%s/volume", peer);
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_dev, makedev(dev_major, dev_minor));
    int rc = elsewhere_with(slave_namespace, who, sizeof who);
    (void)snprintf(other, sizeof other, "%s/other", dir);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(mount(copy, other, NULL, MS_BIND, NULL), 0);
    int bound = procs_mounted_elsewhere(dev_major, dev_minor, volume, who, sizeof who);
    assert_int_equal(umount2(other, UMOUNT_NOFOLLOW), 0);
    assert_int_equal(rmdir(other), 0);
    int in_container = elsewhere_with(container_like, who, sizeof who);
    assert_int_equal(rmdir("/tmp/test-procs.data"), 0);
    assert_int_equal(umount2(volume, UMOUNT_NOFOLLOW), 0);
    assert_int_equal(stat(copy, &st), 0);
    dev_t without = st.st_dev;
    assert_int_equal(umount2(peer, UMOUNT_NOFOLLOW), 0);
    assert_int_equal(rmdir(peer), 0);
    assert_int_equal(mount("volume", volume, "tmpfs", 0, NULL), 0);
    assert_int_equal(stat(volume, &st), 0);
    assert_int_not_equal(without, makedev(dev_major, dev_minor));
    dev_major = major(st.st_dev);
    dev_minor = minor(st.st_dev);
    assert_int_equal(rc, 0);
    assert_int_equal(bound, 1);
    assert_int_equal(in_container, 1);
}

static void sees_another_mount_of_ours(void **state)
{
    char who[200], other[100];
    (void)state;
    if (getuid() != 0)
        skip();
    (void)snprintf(other, sizeof other, "%s/other", dir);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(mount(volume, other, NULL, MS_BIND, NULL), 0);
    int rc = procs_pinning(dev_major, dev_minor, volume, who, sizeof who);
    assert_int_equal(umount2(other, UMOUNT_NOFOLLOW), 0);
    assert_int_equal(rc, 1);
    if (!strstr(who, "another mount") || !strstr(who, other))
        fail_msg("%s", who);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_time_names_a_process),
        cmocka_unit_test(alive),
        cmocka_unit_test(finds_by_argv0),
        cmocka_unit_test(one_that_cannot_be_read_is_told_as_such),
        cmocka_unit_test(one_whose_reader_is_killed_is_read_by_the_next),
        cmocka_unit_test(without_descriptors_nobody_is_said_to_be_absent),
        cmocka_unit_test(sees_who_stands_in_it),
        cmocka_unit_test(sees_nobody),
        cmocka_unit_test(sees_other_namespaces),
        cmocka_unit_test(does_not_count_propagated_copies),
        cmocka_unit_test(does_not_count_copies_at_other_paths),
        cmocka_unit_test(sees_another_mount_of_ours),
    };
    return cmocka_run_group_tests(tests, mount_volume, umount_volume);
}
