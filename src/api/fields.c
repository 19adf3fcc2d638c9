/* SPDX-License-Identifier: MIT */
#include "api/fields.h"

#include <errno.h>
#include <string.h>

int fields_text_or_empty(const json_t *in, const char *key, const char **ret, struct error *err)
{
    const json_t *value = json_object_get(in, key);
    if (!value || json_is_null(value)) {
        *ret = "";
        return 0;
    }
    const char *text = json_string_value(value);
    if (!text)
        return error_set(err, -EINVAL, "field %s: must be a text", key);
    if (strlen(text) != json_string_length(value))
        return error_set(err, -EINVAL, "field %s: must not contain a NUL character", key);
    *ret = text;
    return 0;
}

int fields_text(const json_t *in, const char *key, const char **ret, struct error *err)
{
    if (!json_object_get(in, key))
        return error_set(err, -EINVAL, "field %s: missing", key);
    int rc = fields_text_or_empty(in, key, ret, err);
    if (rc == 0 && **ret == '\0')
        return error_set(err, -EINVAL, "field %s: empty", key);
    return rc;
}

int fields_options(const json_t *in, const char *key, const json_t **ret, struct error *err)
{
    json_t *options = json_object_get(in, key), *value;
    const char *name;
    *ret = NULL;
    if (!options || json_is_null(options))
        return 0;
    if (!json_is_object(options))
        return error_set(err, -EINVAL, "field %s: must be an object of texts", key);
    json_object_foreach(options, name, value)
    {
        const char *text = json_string_value(value);
        if (!text || strlen(text) != json_string_length(value))
            return error_set(err, -EINVAL, "option %.60s: its value must be a text", name);
    }
    *ret = options;
    return 0;
}

int fields_flag(const json_t *in, const char *key, bool *ret, struct error *err)
{
    const json_t *value = json_object_get(in, key);
    if (value && !json_is_null(value) && !json_is_boolean(value))
        return error_set(err, -EINVAL, "field %s: must be true or false", key);
    *ret = json_is_true(value);
    return 0;
}
