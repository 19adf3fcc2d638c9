/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "cmocka-headers.h"
#include "host/mountpoint.h"

static char dir[] = "/tmp/test-mountpoint.XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    struct command_output out;
    struct error err;
    (void)state;
    const char *thaw[] = { "chattr", "-R", "-i", dir, NULL };
    const char *rm[] = { "rm", "-rf", dir, NULL };
    (void)command_run(&(struct command){ .argv = thaw, .keep_fd = -1, .deadline = clock_in_ms(5000) }, &out,
                      &err);
    return command_run(&(struct command){ .argv = rm, .keep_fd = -1, .deadline = clock_in_ms(5000) }, &out,
                       &err);
}

static const char *in_dir(const char *rest)
{
    static char path[4][200];
    static unsigned next;
    char *p = path[next++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", dir, rest);
    return p;
}

static int prepare(const char *path, struct error *err)
{
    CLEANUP(mountpoint_done) struct mountpoint m = { .parent = -1 };
    int rc = mountpoint_find(path, true, &m, err);
    return rc < 0 ? rc : mountpoint_prepare(&m, err);
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void makes_directories(void **state)
{
    struct error err = { 0 };
    (void)state;
    mode_t old = umask(077);
    int rc = prepare(in_dir("root/rbd/db"), &err);
    (void)umask(old);
    if (rc != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(mode_of(in_dir("root")), 0711);
    assert_int_equal(mode_of(in_dir("root/rbd")), 0711);
    assert_int_equal(mode_of(in_dir("root/rbd/db")), 0755);
    assert_int_equal(prepare(in_dir("root/rbd/db"), &err), 0);
}

static void makes_it_immutable(void **state)
{
    struct error err = { 0 };
    int flags = 0;
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(prepare(in_dir("root/rbd/fixed"), &err), 0);
    auto_close int fd = open(in_dir("root/rbd/fixed"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        skip(); /* a file system without such flags */
    assert_true(flags & FS_IMMUTABLE_FL);
    assert_int_equal(mkdirat(fd, "x", 0700), -1);
}

static void refuses_files_in_it(void **state)
{
    struct error err = { 0 };
    (void)state;
    assert_int_equal(mkdir(in_dir("full"), 0700), 0);
    assert_int_equal(mkdir(in_dir("full/rbd"), 0700), 0);
    assert_int_equal(mkdir(in_dir("full/rbd/db"), 0700), 0);
    assert_int_equal(mkdir(in_dir("full/rbd/db/x"), 0700), 0);
    assert_int_equal(prepare(in_dir("full/rbd/db"), &err), -ENOTEMPTY);
    assert_non_null(strstr(err.msg, "move them away"));
}

static void follows_no_link_of_ours(void **state)
{
    struct error err = { 0 };
    (void)state;
    assert_int_equal(mkdir(in_dir("links"), 0700), 0);
    assert_int_equal(mkdir(in_dir("elsewhere"), 0700), 0);
    assert_int_equal(mkdir(in_dir("links/rbd"), 0700), 0);
    assert_int_equal(symlink(in_dir("elsewhere"), in_dir("links/rbd/db")), 0);
    assert_int_equal(prepare(in_dir("links/rbd/db"), &err), -ENOTDIR);
    assert_int_equal(symlink(in_dir("elsewhere"), in_dir("links/pool")), 0);
    assert_int_equal(prepare(in_dir("links/pool/db"), &err), -ENOTDIR);
    assert_non_null(strstr(err.msg, "symbolic link"));
    assert_int_equal(rmdir(in_dir("elsewhere")), 0); /* nothing was made in it */
}

static void follows_links_before_the_root(void **state)
{
    struct error err = { 0 };
    (void)state;
    assert_int_equal(mkdir(in_dir("real"), 0700), 0);
    assert_int_equal(symlink("real", in_dir("alias")), 0);
    CLEANUP(mountpoint_done) struct mountpoint m = { .parent = -1 };
    assert_int_equal(mountpoint_find(in_dir("alias/rbd/db"), true, &m, &err), 0);
    assert_string_equal(m.path, in_dir("real/rbd/db"));
    assert_string_equal(m.name, "db");
}

static void refuses_other_paths(void **state)
{
    static const char *const paths[] = { "",       "/",       "/a",      "/a/b",    "a/b/c",
                                         "/a/b/",  "/a/b/..", "/a/../c", "/a//c",   "/a/b/.",
                                         "/a/./c", "//",      "x",       "/a/b/c/", "/a/b/../c" };
    struct error err = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct mountpoint m = { .parent = -1 };
        if (mountpoint_find(paths[i], false, &m, &err) != -EINVAL)
            fail_msg("'%s' was taken", paths[i]);
    }
}

static void looks_without_making(void **state)
{
    struct error err = { 0 };
    struct mountpoint m = { .parent = -1 };
    (void)state;
    assert_int_equal(mountpoint_find(in_dir("absent/rbd/db"), false, &m, &err), -ENODEV);
    assert_int_equal(access(in_dir("absent"), F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_directories),
        cmocka_unit_test(makes_it_immutable),
        cmocka_unit_test(refuses_files_in_it),
        cmocka_unit_test(follows_no_link_of_ours),
        cmocka_unit_test(follows_links_before_the_root),
        cmocka_unit_test(refuses_other_paths),
        cmocka_unit_test(looks_without_making),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
