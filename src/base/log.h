/* SPDX-License-Identifier: MIT */
/* One event, one line, one write(2) on standard error. */
#pragma once

#include <stdbool.h>

enum log_level {
    LOG_LEVEL_ERR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

/* What is above the level (a larger number) is not written. Default: info. */
void log_set_level(enum log_level level);

/* "error", "warning", "notice", "info", "debug"; -EINVAL for any other word. */
int log_level_parse(const char *word, enum log_level *ret);

/* Where lines go instead of standard error: a sink that returns true has taken the line (its text, without
 * priority and line end), and it is written nowhere else. Set it before the first thread. */
void log_set_sink(bool (*sink)(enum log_level level, const char *text));

/* Writes "<6>text\n"; the journal takes the number as the priority (sd-daemon(3)). The text is an event and
 * its fields: "mounted volume=rbd/db id=3f2a device=/dev/loop3 ms=41". Control characters, and what is not
 * UTF-8, become '?'. A line that is too long ends in "...". */
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
