/* SPDX-License-Identifier: MIT */
#include "main/findings.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/text.h"

static const char *const names[] = { "ok", "warning", "problem" };

void findings_init(struct findings *f)
{
    *f = (struct findings){ .list = json_array() };
    if (!f->list)
        abort();
}

void findings_done(struct findings *f)
{
    json_decref(f->list);
    f->list = NULL;
}

void findings_add(struct findings *f, enum finding kind, const char *check, const char *mend, const char *fmt,
                  ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    text_printable(text);
    f->warnings += kind == FINDING_WARNING;
    f->problems += kind == FINDING_PROBLEM;
    json_array_append_new(f->list, json_pack("{s:s, s:s, s:s, s:s}", "Check", check, "Result", names[kind],
                                             "Text", text, "Mend", mend));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

void findings_print(const struct findings *f, FILE *out)
{
    size_t i;
    json_t *one;
    json_array_foreach(f->list, i, one)
    {
        (void)fprintf(out, "%-8s %-14s %s\n", text_of(one, "Result"), text_of(one, "Check"),
                      text_of(one, "Text"));
        if (*text_of(one, "Mend"))
            (void)fprintf(out, "%-8s %-14s -> %s\n", "", "", text_of(one, "Mend"));
    }
    (void)fprintf(out, "\n%u problems, %u warnings\n", f->problems, f->warnings);
}
