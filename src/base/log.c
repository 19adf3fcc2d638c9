/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define LINE_MAX_BYTES 1024

static atomic_int threshold = LOG_LEVEL_INFO;
static bool (*taken)(enum log_level level, const char *text);

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

void log_set_sink(bool (*sink)(enum log_level level, const char *text))
{
    taken = sink;
}

int log_level_parse(const char *word, enum log_level *ret)
{
    static const struct {
        const char *word;
        enum log_level level;
    } levels[] = {
        { "error", LOG_LEVEL_ERR }, { "warning", LOG_LEVEL_WARNING }, { "notice", LOG_LEVEL_NOTICE },
        { "info", LOG_LEVEL_INFO }, { "debug", LOG_LEVEL_DEBUG },
    };
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(word, levels[i].word) == 0) {
            *ret = levels[i].level;
            return 0;
        }
    return -EINVAL;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    va_list ap;
    if ((int)level > atomic_load(&threshold))
        return;
    int head = snprintf(line, sizeof line, "<%d>", (int)level);
    va_start(ap, fmt);
    int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, fmt, ap);
    va_end(ap);
    if (body < 0)
        return;
    if ((size_t)body >= sizeof line - (size_t)head - 1)
        memcpy(line + sizeof line - 5, "...", 4);
    text_printable(line);
    if (taken && taken(level, line + head))
        return;
    size_t len = strlen(line);
    line[len++] = '\n';
    (void)!write(STDERR_FILENO, line, len);
}
