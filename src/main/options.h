/* SPDX-License-Identifier: MIT */
/* The one table of all options: parsing, checking, `rbdvol help serve` and rbdvol.conf(5) are made from it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "volume/settings.h"

struct option_row {
    const char *name;  /* as a flag (--name=) and in the file; RBDVOL_NAME in the environment */
    const char *value; /* what its value looks like, for help: "SIZE", "yes|no" */
    const char *
        preset; /* the default, as one would write it; NAME and CLUSTER stand for those options; "" is none */
    const char *none;    /* what an empty default means, for help; NULL: an empty value is refused */
    const char *meaning; /* one sentence, without a full stop */
    int (*set)(const struct option_row *row, const char *text, struct settings *s, struct error *err);
    size_t offset;     /* of the member of struct settings, where set() is one of the common ones */
    const void *range; /* of the value, as set() takes it */
};

extern const struct option_row options[];
extern const size_t options_count;

/* NULL: there is none of this name. */
const struct option_row *option_find(const char *name);

/* Puts a value into the settings; an earlier one is replaced. -EINVAL: the message says what is wrong with
 * the value. */
int option_set(const struct option_row *row, const char *text, struct settings *s, struct error *err);

/* Its default with NAME and CLUSTER filled in from the settings. -EINVAL cannot happen by the table alone,
 * but a long name can make a path too long. */
int option_preset(const struct option_row *row, struct settings *s, struct error *err);

/* "RBDVOL_SOCKET_MODE" for "socket-mode". Returns buf. */
const char *option_variable(const struct option_row *row, char *buf, size_t size);

/* Frees what the settings hold. */
void settings_free(struct settings *s);
