/* SPDX-License-Identifier: MIT */
/* Takes the fields out of a request's JSON object, refusing by name what is missing or of the wrong type. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/* A text that must be there. It has no NUL inside. -EINVAL names the field. The result belongs to `in`. */
int fields_text(const json_t *in, const char *key, const char **ret, struct error *err);

/* The same; absent or null is "". */
int fields_text_or_empty(const json_t *in, const char *key, const char **ret, struct error *err);

/* An object of texts, or nothing (absent or null): *ret is NULL then. -EINVAL names the member of the wrong
 * type. */
int fields_options(const json_t *in, const char *key, const json_t **ret, struct error *err);

/* true or false; absent or null is false. */
int fields_flag(const json_t *in, const char *key, bool *ret, struct error *err);
