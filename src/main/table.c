/* SPDX-License-Identifier: MIT */
#include "main/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define GAP      2
#define CUT_LEFT 8 /* a column is never cut below this */

void table_init(struct table *t, const char *const *heads)
{
    *t = (struct table){ .heads = heads };
    while (heads[t->columns] && t->columns < TABLE_COLUMNS_MAX)
        t->columns++;
}

void table_done(struct table *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i]);
    free(t->cells);
}

void table_add(struct table *t, const char *text)
{
    if (t->n == t->room) {
        t->room = t->room ? t->room * 2 : 64;
        t->cells = realloc(t->cells, t->room * sizeof *t->cells);
        if (!t->cells)
            abort();
    }
    char *cell = strdup(text && *text ? text : "-");
    if (!cell)
        abort();
    text_printable(cell);
    t->cells[t->n++] = cell;
}

/* Columns on a screen, where each UTF-8 character takes one. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void measure(const struct table *t, size_t limit, size_t *widths)
{
    size_t total = t->columns ? GAP * (t->columns - 1) : 0;
    for (unsigned c = 0; c < t->columns; c++) {
        widths[c] = width_of(t->heads[c]);
        for (size_t i = c; i < t->n; i += t->columns)
            if (width_of(t->cells[i]) > widths[c])
                widths[c] = width_of(t->cells[i]);
        total += widths[c];
    }
    while (limit && total > limit) { /* a column at a time, so that those which are wide share it */
        unsigned widest = 0;
        for (unsigned c = 1; c < t->columns; c++)
            if (widths[c] > widths[widest])
                widest = c;
        if (widths[widest] <= CUT_LEFT)
            return;
        widths[widest]--;
        total--;
    }
}

static void print_cell(FILE *out, const char *text, size_t width, int last)
{
    size_t have = width_of(text), shown = 0;
    const char *end = text;
    if (have <= width) {
        (void)fputs(text, out);
        if (!last)
            (void)fprintf(out, "%*s", (int)(width - have + GAP), "");
        return;
    }
    for (; *end && (shown < width - 3 || ((unsigned char)*end & 0xc0) == 0x80); end++)
        shown += ((unsigned char)*end & 0xc0) != 0x80;
    (void)fprintf(out, "%.*s...%*s", (int)(end - text), text, last ? 0 : GAP, "");
}

void table_print(const struct table *t, FILE *out, size_t width)
{
    size_t widths[TABLE_COLUMNS_MAX] = { 0 };
    measure(t, width, widths);
    for (unsigned c = 0; c < t->columns; c++)
        print_cell(out, t->heads[c], widths[c], c + 1 == t->columns);
    (void)fputc('\n', out);
    for (size_t row = 0; row < t->n; row += t->columns) {
        for (unsigned c = 0; c < t->columns && row + c < t->n; c++)
            print_cell(out, t->cells[row + c], widths[c], c + 1 == t->columns);
        (void)fputc('\n', out);
    }
}
