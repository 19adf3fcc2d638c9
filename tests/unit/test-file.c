/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cmocka-headers.h"

static char dir[] = "/tmp/rbdvol-test-file.XXXXXX";
static char path[PATH_MAX];

static const char *at(const char *name)
{
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = { "text", "text.tmp", "taken", "a/b/c", "a/b", "a", "link", "" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)remove(at(names[i]));
    return access(dir, F_OK) == 0 ? -1 : 0;
}

static void replaces_and_reads(void **state)
{
    struct error err;
    struct stat st;
    char line[16];
    size_t len;
    auto_free char *text = NULL, *again = NULL;
    (void)state;
    assert_int_equal(file_read(at("text"), 100, &text, NULL, &err), -ENOENT);
    assert_int_equal(file_replace(at("text"), "one\ntwo\n", 8, &err), 0);
    assert_int_equal(file_read(at("text"), 8, &text, &len, &err), 0);
    assert_int_equal(len, 8);
    assert_string_equal(text, "one\ntwo\n");
    assert_int_equal(file_read_line(at("text"), line, sizeof line, &err), 0);
    assert_string_equal(line, "one");
    assert_int_equal(file_read_line(at("text"), line, 3, &err), -EFBIG);
    assert_int_equal(file_read(at("text"), 7, &again, NULL, &err), -EFBIG);
    assert_int_equal(stat(at("text"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(access(at("text.tmp"), F_OK), -1);
    assert_int_equal(file_replace(at("text"), "", 0, &err), 0);
    assert_int_equal(file_read(at("text"), 0, &again, &len, &err), 0);
    assert_int_equal(len, 0);
    assert_string_equal(again, "");
}

static void replaces_large_ones(void **state)
{
    struct error err;
    size_t len, size = 100000;
    auto_free char *big = malloc(size), *text = NULL;
    (void)state;
    memset(big, 'x', size);
    assert_int_equal(file_replace(at("text"), big, size, &err), 0);
    assert_int_equal(file_read(at("text"), size, &text, &len, &err), 0);
    assert_int_equal(len, size);
    assert_memory_equal(text, big, size);
    assert_int_equal(text[len], 0);
}

static void tells_what_went_wrong(void **state)
{
    struct error err;
    auto_free char *text = NULL;
    (void)state;
    assert_int_equal(file_replace(at("none/text"), "x", 1, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "none/text"));
    assert_int_equal(file_read(dir, 100, &text, NULL, &err), -EISDIR);
    assert_null(text);
}

static void holds(const char *file, const char *expected)
{
    struct error err;
    auto_free char *text = NULL;
    assert_int_equal(file_read(file, 100, &text, NULL, &err), 0);
    assert_string_equal(text, expected);
}

/* A crash left the temporary file; somebody put something else in its place. */
static void writes_into_nothing_that_was_put_there(void **state)
{
    struct error err;
    char tmp[PATH_MAX], target[PATH_MAX];
    (void)state;
    (void)snprintf(target, sizeof target, "%s", at("link"));
    (void)snprintf(tmp, sizeof tmp, "%s", at("text.tmp"));
    assert_int_equal(file_replace(target, "kept", 4, &err), 0);
    for (int what = 0; what < 3; what++) {
        assert_int_equal(what == 0   ? symlink(target, tmp)
                         : what == 1 ? link(target, tmp)
                                     : mkfifo(tmp, 0600),
                         0);
        assert_int_equal(file_replace(at("text"), "x", 1, &err), 0);
        holds(at("text"), "x");
        holds(target, "kept");
        assert_int_equal(access(tmp, F_OK), -1);
    }
    assert_int_equal(mkdir(tmp, 0700), 0);
    assert_int_equal(file_replace(at("text"), "y", 1, &err), -EEXIST);
    holds(at("text"), "x");
    assert_int_equal(rmdir(tmp), 0);
    assert_int_equal(unlink(target), 0);
}

static void its_own_files_are_files(void **state)
{
    struct error err;
    char own[PATH_MAX];
    auto_free char *text = NULL;
    (void)state;
    (void)snprintf(own, sizeof own, "%s", at("own"));
    assert_int_equal(mkfifo(own, 0600), 0); /* opening it would wait for a writer */
    assert_int_equal(file_read_own(own, 100, &text, NULL, &err), -EINVAL);
    assert_int_equal(unlink(own), 0);
    assert_int_equal(symlink("/etc/passwd", own), 0);
    assert_int_equal(file_read_own(own, 100000, &text, NULL, &err), -ELOOP);
    assert_int_equal(unlink(own), 0);
    assert_null(text);
    assert_int_equal(file_read_own(own, 100, &text, NULL, &err), -ENOENT);
    assert_int_equal(file_replace(own, "own", 3, &err), 0);
    assert_int_equal(file_read_own(own, 100, &text, NULL, &err), 0);
    assert_string_equal(text, "own");
    assert_int_equal(unlink(own), 0);
}

static void makes_directories(void **state)
{
    struct error err;
    struct stat st;
    mode_t mask = umask(0077);
    (void)state;
    assert_int_equal(file_mkdirs(at("a/b/c"), 0711, &err), 0);
    (void)umask(mask);
    assert_int_equal(stat(at("a/b"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0711);
    assert_int_equal(file_mkdirs(at("a/b/c"), 0700, &err), 0);
    assert_int_equal(stat(at("a/b/c"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0711);
    assert_int_equal(file_replace(at("text"), "", 0, &err), 0);
    assert_int_equal(file_mkdirs(at("text"), 0700, &err), -ENOTDIR);
    assert_int_equal(file_mkdirs(at("text/x"), 0700, &err), -ENOTDIR);
    assert_int_equal(file_mkdirs("", 0700, &err), -ENAMETOOLONG);
    assert_int_equal(file_mkdirs("/", 0700, &err), 0);
}

static void leaves_nothing_when_it_cannot_replace(void **state)
{
    struct error err;
    char deep[PATH_MAX];
    (void)state;
    assert_int_equal(file_mkdirs(at("taken"), 0700, &err), 0);
    assert_int_equal(file_replace(at("taken"), "x", 1, &err), -EISDIR);
    assert_non_null(strstr(err.msg, "cannot write "));
    assert_int_not_equal(access(at("taken.tmp"), F_OK), 0);
    memset(deep, 'x', sizeof deep - 1);
    deep[sizeof deep - 3] = '\0';
    assert_int_equal(file_replace(deep, "x", 1, &err), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_and_reads),
        cmocka_unit_test(replaces_large_ones),
        cmocka_unit_test(tells_what_went_wrong),
        cmocka_unit_test(writes_into_nothing_that_was_put_there),
        cmocka_unit_test(its_own_files_are_files),
        cmocka_unit_test(makes_directories),
        cmocka_unit_test(leaves_nothing_when_it_cannot_replace),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
