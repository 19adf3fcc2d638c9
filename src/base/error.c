/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void tidy(char *text, size_t size, int wanted)
{
    if (wanted >= 0 && (size_t)wanted >= size)
        memcpy(text + size - 4, "...", 4);
    text_printable(text);
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
    va_list ap;
    err->code = code;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    tidy(err->msg, sizeof err->msg, n);
    return code;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
    char head[sizeof err->msg], whole[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    int n = snprintf(whole, sizeof whole, "%s: %s", head, err->msg);
    tidy(whole, sizeof whole, n);
    memcpy(err->msg, whole, sizeof err->msg);
    return err->code;
}

const char *error_text(int code)
{
    const char *text = strerrordesc_np(code < 0 ? -code : code);
    return text ? text : "unknown error";
}
