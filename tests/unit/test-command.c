/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "cmocka-headers.h"

static struct command_output out;
static struct error err;

static int shell(const char *script, int64_t ms)
{
    const char *const argv[] = { "sh", "-c", script, NULL };
    const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = clock_in_ms(ms) };
    return command_run(&cmd, &out, &err);
}

static void tells_status_and_output(void **state)
{
    (void)state;
    assert_int_equal(shell("echo one; echo two >&2; exit 7", 5000), 7);
    assert_string_equal(out.text, "one;two");
    assert_int_equal(shell("exit 0", 5000), 0);
    assert_string_equal(out.text, "");
}

static void keeps_the_end_of_a_long_output(void **state)
{
    (void)state;
    assert_int_equal(shell("seq 1 100000; echo the end", 20000), 0);
    size_t len = strlen(out.text);
    assert_in_range(len, 500, sizeof out.text - 1);
    assert_string_equal(out.text + len - 14, "100000;the end");
}

static void not_installed(void **state)
{
    const char *const argv[] = { "no-such-program", NULL };
    const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = clock_in_ms(1000) };
    char path[64];
    (void)state;
    assert_int_equal(command_run(&cmd, &out, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "not installed"));
    assert_int_equal(command_find("no-such-program", path, sizeof path), -ENOENT);
    assert_int_equal(command_find("sh", path, sizeof path), 0);
    assert_int_equal(command_find("/bin/sh", path, sizeof path), 0);
    assert_int_equal(command_find("sh", path, 4), -ENOENT);
}

static void is_stopped_at_the_deadline(void **state)
{
    (void)state;
    moment begun = clock_now();
    assert_int_equal(shell("echo begun; sleep 100", 200), -ETIMEDOUT);
    assert_in_range(clock_since_ms(begun), 199, 1500);
    assert_string_equal(out.text, "begun");
}

/* It is always ready to be read: only the clock can end it. */
static void a_babbler_is_stopped_too(void **state)
{
    (void)state;
    moment begun = clock_now();
    assert_int_equal(shell("while :; do echo babble; done", 200), -ETIMEDOUT);
    assert_in_range(clock_since_ms(begun), 199, 1500);
}

/* The program ends, a child of its keeps the pipe open: the status counts, at the deadline at the latest. */
static void a_grandchild_keeps_the_pipe(void **state)
{
    (void)state;
    moment begun = clock_now();
    assert_int_equal(shell("sleep 3 & exit 5", 300), 5);
    assert_in_range(clock_since_ms(begun), 0, 2000);
}

static void killed_by_a_signal(void **state)
{
    (void)state;
    assert_int_equal(shell("kill -9 $$", 5000), -EINTR);
    assert_non_null(strstr(err.msg, "killed by a signal"));
}

/* Our threads block SIGTERM for sigwait and ignore SIGPIPE. */
static void starts_clean(void **state)
{
    sigset_t set;
    (void)state;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    /* exec: dash blocks all signals itself for the moment after its vfork */
    int rc = shell("exec grep -E 'Sig(Blk|Ign)' /proc/self/status", 5000);
    (void)signal(SIGPIPE, SIG_DFL);
    assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    assert_int_equal(rc, 0);
    unsigned long blocked, ignored;
    assert_int_equal(sscanf(out.text, "SigBlk: %lx;SigIgn: %lx", &blocked, &ignored), 2);
    assert_int_equal(blocked, 0);
    /* glibc itself ignores its own two, 32 and 33, in what it spawns */
    assert_int_equal(ignored & ~(3UL << 31), 0);
    assert_int_equal(shell("readlink /proc/$$/fd/0; echo $PATH $HOME", 5000), 0);
    assert_string_equal(out.text, "/dev/null;/usr/sbin:/usr/bin:/sbin:/bin");
}

static void has_only_its_descriptors(void **state)
{
    auto_close int secret = open("/dev/zero", O_RDONLY), kept = open("/dev/full", O_RDONLY);
    static const char script[] =
        "for i in $(seq 0 99); do test -e /proc/$$/fd/$i && echo $i; done; readlink /proc/$$/fd/3";
    const char *const argv[] = { "sh", "-c", script, NULL };
    struct command cmd = { .argv = argv, .keep_fd = kept, .deadline = clock_in_ms(5000) };
    (void)state;
    assert_true(secret > 2 && kept > secret);
    assert_int_equal(command_run(&cmd, &out, &err), 0);
    assert_string_equal(out.text, "0;1;2;3;/dev/full");
    cmd.keep_fd = -1;
    assert_int_equal(command_run(&cmd, &out, &err), 1);
    assert_string_equal(out.text, "0;1;2");
}

static void runs_unprivileged(void **state)
{
    const char *const argv[] = {
        "sh", "-c", "id -u; id -G; grep -E '^(CapBnd|CapEff|CapInh|NoNewPrivs)' /proc/self/status", NULL
    };
    const struct command cmd = {
        .argv = argv, .keep_fd = -1, .unprivileged = true, .deadline = clock_in_ms(5000)
    };
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(command_run(&cmd, &out, &err), 0);
    assert_string_equal(out.text, "65534;65534;CapInh:\t0000000000000000;CapEff:\t0000000000000000;"
                                  "CapBnd:\t0000000000000000;NoNewPrivs:\t1");
}

static void too_many_arguments(void **state)
{
    const char *argv[200] = { "true" };
    const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = clock_in_ms(1000) };
    (void)state;
    for (size_t i = 1; i < 199; i++)
        argv[i] = "x";
    assert_int_equal(command_run(&cmd, &out, &err), -E2BIG);
}

static void spawns_and_waits(void **state)
{
    const char *const argv[] = { "@name", "-c", "read x <&3; exit 9", NULL };
    int pipes[2];
    pid_t pid;
    (void)state;
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(command_spawn("/bin/sh", argv, &pipes[0], 1, &pid, &err), 0);
    assert_int_equal(command_wait(pid, clock_in_ms(50)), -ETIMEDOUT);
    (void)close(pipes[1]);
    assert_int_equal(command_wait(pid, clock_in_ms(5000)), 9);
    (void)close(pipes[0]);
    assert_int_equal(command_spawn("/no/such", argv, NULL, 0, &pid, &err), -ENOENT);
}

static void disowned_children_are_reaped(void **state)
{
    const char *const argv[] = { "true", NULL };
    pid_t pid;
    (void)state;
    assert_int_equal(command_spawn("/bin/true", argv, NULL, 0, &pid, &err), 0);
    command_disown(pid);
    moment end = clock_in_ms(5000);
    while (kill(pid, 0) == 0 && clock_left_ms(end) > 0)
        (void)usleep(1000);
    assert_int_equal(kill(pid, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_status_and_output),
        cmocka_unit_test(keeps_the_end_of_a_long_output),
        cmocka_unit_test(not_installed),
        cmocka_unit_test(is_stopped_at_the_deadline),
        cmocka_unit_test(a_babbler_is_stopped_too),
        cmocka_unit_test(a_grandchild_keeps_the_pipe),
        cmocka_unit_test(killed_by_a_signal),
        cmocka_unit_test(starts_clean),
        cmocka_unit_test(has_only_its_descriptors),
        cmocka_unit_test(runs_unprivileged),
        cmocka_unit_test(too_many_arguments),
        cmocka_unit_test(spawns_and_waits),
        cmocka_unit_test(disowned_children_are_reaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
