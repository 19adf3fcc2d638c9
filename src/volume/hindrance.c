/* SPDX-License-Identifier: MIT */
#include "volume/hindrance.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

#define KEY  "rbdvol.hindrance"
#define TEXT 300

void hindrance_tell(struct volumes *e, struct volume *v, const struct error *why)
{
    struct error err;
    struct cluster_status s;
    auto_place struct place p = PLACE_NONE;
    char what[TEXT];
    cluster_status(e->cluster, &s);
    if (v->hindered || s.state != CLUSTER_UP || engine_place(e, &v->name, &p, &err) < 0)
        return;
    (void)snprintf(what, sizeof what, "%s", why->msg);
    time_t now = time(NULL);
    json_auto_t *j =
        json_pack("{s:s, s:I, s:s}", "address", v->mapping.address, "since", (json_int_t)now, "what", what);
    auto_free char *text =
        j ? json_dumps(j, JSON_COMPACT) : NULL; /* cut in the middle of a character: not told */
    if (text && image_set_meta(&p, v->image_id, KEY, text, &err) == 0)
        v->hindered = now;
}

void hindrance_clear(struct volume *v, const struct place *p)
{
    struct error err;
    if (v->hindered)
        (void)image_set_meta(p, v->image_id, KEY, NULL, &err);
    v->hindered = 0;
}

const char *hindrance_text(const struct place *p, const char *id, const char *address, char *buf, size_t size)
{
    struct error err;
    char span[32];
    auto_free char *text = NULL;
    buf[0] = '\0';
    if (image_get_meta(p, id, KEY, &text, &err) != 1)
        return buf;
    json_auto_t *j = json_loads(text, 0, NULL);
    const char *whose = json_string_value(json_object_get(j, "address"));
    const char *what = json_string_value(json_object_get(j, "what"));
    json_int_t since = json_integer_value(json_object_get(j, "since")), now = (json_int_t)time(NULL);
    if (!whose || !what || strcmp(whose, address) != 0 || since <= 0 || since > now)
        return buf;
    clock_span((now - since) * 1000, span, sizeof span);
    (void)snprintf(buf, size, "; it has been trying to let go of it for %s: %.200s", span, what);
    text_printable(buf);
    return buf;
}
