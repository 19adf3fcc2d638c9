/* SPDX-License-Identifier: MIT */
#include "main/ctl-image.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* Exactly so many words behind the command, which `what` names? 0, or the exit status. */
static int expect(const struct call *c, int n, const char *what)
{
    if (c->nwords > n)
        return call_usage(c->command, "one argument too many:", c->words[n]);
    return c->nwords < n ? call_usage(c->command, what, NULL) : 0;
}

/* One more text of the request; 0, or the exit status. */
static int add(struct call *c, const char *key, const char *text)
{
    if (!c->more)
        c->more = json_object();
    return json_object_set_new(c->more, key, json_string(text)) < 0
               ? call_usage(c->command, "not UTF-8:", text)
               : 0;
}

int ctl_resize(struct call *c)
{
    char size[32];
    json_auto_t *answer = NULL;
    int rc = expect(c, 2, "it needs the name of a volume and its new size");
    if (rc == 0)
        rc = add(c, "Size", c->words[1]);
    if (rc)
        return rc;
    c->name = c->words[0];
    rc = call_ask(c, "/Rbdvol.Resize", &answer);
    if (rc)
        return rc;
    if (c->json) {
        call_print_json(answer);
        return 0;
    }
    (void)printf("%s has %s now%s\n", c->name,
                 text_size((uint64_t)json_integer_value(json_object_get(answer, "Size")), size),
                 json_is_true(json_object_get(answer, "Mounted"))
                     ? ", and so has its file system"
                     : "; its file system grows at the next mount");
    return 0;
}
