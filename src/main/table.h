/* SPDX-License-Identifier: MIT */
/* A table for people: columns as wide as what is in them. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 8

struct table {
    const char *const *heads; /* NULL-ended; static */
    unsigned columns;
    char **cells; /* row after row */
    size_t n, room;
};

/* {.heads = ...} with a NULL-ended list of at most TABLE_COLUMNS_MAX. */
void table_init(struct table *t, const char *const *heads);
void table_done(struct table *t);

/* Adds a cell; rows fill from left to right. NULL and "" become "-". Control characters become '?'. */
void table_add(struct table *t, const char *text);

/* Prints it. Where it is wider than width (0: no limit), the cells of the widest columns are cut and end in
 * "...".
 */
void table_print(const struct table *t, FILE *out, size_t width);
