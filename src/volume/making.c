/* SPDX-License-Identifier: MIT */
#include "volume/making.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

char *making_encode(const struct making *m, const char *host, const char *boot_id)
{
    json_auto_t *j = json_pack("{s:i, s:s, s:s, s:I, s:s, s:s}", "version", 1, "final", m->final, "temp",
                               m->temp, "since", (json_int_t)m->since, "host", host, "boot_id", boot_id);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    if (!text)
        abort();
    return text;
}

static int take_name(const json_t *j, const char *key, char *to)
{
    const char *text = json_string_value(json_object_get(j, key));
    if (!text || !text_is_name(text))
        return -EINVAL;
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

int making_decode(const char *text, struct making *ret)
{
    struct making m;
    json_auto_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (take_name(j, "final", m.final) < 0 || take_name(j, "temp", m.temp) < 0)
        return -EINVAL;
    m.since = json_integer_value(json_object_get(j, "since"));
    *ret = m;
    return 0;
}
