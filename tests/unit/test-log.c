/* SPDX-License-Identifier: MIT */
/* Lines as they come out on standard error, and what takes them instead. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cmocka-headers.h"

static int saved, pipes[2];

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_INFO);
    log_set_sink(NULL);
    if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    saved = dup(STDERR_FILENO);
    return dup2(pipes[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    log_set_sink(NULL);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    return 0;
}

/* What has come since the last look. */
static const char *written(void)
{
    static char text[4096];
    ssize_t n = read(pipes[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void an_event_is_one_line_with_its_priority(void **state)
{
    (void)state;
    log_error("lost volume=%s holders=%d", "rbd/db", 2);
    assert_string_equal(written(), "<3>lost volume=rbd/db holders=2\n");
    log_info("mounted ms=%d", 41);
    assert_string_equal(written(), "<6>mounted ms=41\n");
}

static void what_is_above_the_level_is_not_written(void **state)
{
    (void)state;
    log_debug("nothing");
    assert_string_equal(written(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("something");
    assert_string_equal(written(), "<7>something\n");
    log_set_level(LOG_LEVEL_ERR);
    log_warning("nothing");
    assert_string_equal(written(), "");
}

/* Nobody writes a second line, or to the terminal, with what he has put into a name. */
static void what_is_not_printable_is_a_question_mark(void **state)
{
    (void)state;
    log_notice("name=%s", "a\nb\033[2Jc\xff\xc3\xa4");
    assert_string_equal(written(), "<5>name=a?b?[2Jc?\xc3\xa4\n");
}

static void a_line_that_is_too_long_says_so_at_its_end(void **state)
{
    (void)state;
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_notice("%s", text);
    const char *line = written();
    size_t len = strlen(line);
    assert_int_equal(len, 1023);
    assert_string_equal(line + len - 5, "x...\n");
    text[1018] = '\0'; /* the longest that is whole */
    log_notice("%s", text);
    line = written();
    assert_int_equal(strlen(line), 3 + 1018 + 1);
    assert_null(strchr(line, '.'));
}

static char took_text[64];
static enum log_level took_level;
static bool takes;

static bool sink(enum log_level level, const char *text)
{
    took_level = level;
    (void)snprintf(took_text, sizeof took_text, "%s", text);
    return takes;
}

static void a_sink_takes_lines_or_leaves_them(void **state)
{
    (void)state;
    log_set_sink(sink);
    takes = true;
    log_warning("one=%d\n", 1);
    assert_string_equal(took_text, "one=1?");
    assert_int_equal(took_level, LOG_LEVEL_WARNING);
    assert_string_equal(written(), "");
    takes = false;
    log_warning("two");
    assert_string_equal(took_text, "two");
    assert_string_equal(written(), "<4>two\n");
}

static void levels_have_names(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_ERR;
    assert_int_equal(log_level_parse("debug", &level), 0);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    static const char *const wrong[] = { "", "Error", "warn", "7", "debug " };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(log_level_parse(wrong[i], &level), -EINVAL);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_one_line_with_its_priority),   TEST(what_is_above_the_level_is_not_written),
        TEST(what_is_not_printable_is_a_question_mark), TEST(a_line_that_is_too_long_says_so_at_its_end),
        TEST(a_sink_takes_lines_or_leaves_them),        TEST(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
