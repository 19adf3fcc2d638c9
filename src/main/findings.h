/* SPDX-License-Identifier: MIT */
/* What `rbdvol doctor` has found. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum finding { FINDING_OK, FINDING_WARNING, FINDING_PROBLEM };

struct findings {
    json_t *list;
    unsigned warnings, problems;
};

void findings_init(struct findings *f);
void findings_done(struct findings *f);

/* check: what was looked at, two words; mend: how to mend it, "" when there is nothing to do. */
void findings_add(struct findings *f, enum finding kind, const char *check, const char *mend, const char *fmt,
                  ...) __attribute__((format(printf, 5, 6)));

/* One line for each, and under it how to mend it. */
void findings_print(const struct findings *f, FILE *out);
