/* SPDX-License-Identifier: MIT */
#include "main/ctl-image.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "main/table.h"

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

/* NAME@SNAP into the request; 0, or the exit status. The word is cut in place. */
static int take_snap(struct call *c, char *word)
{
    char *at = strrchr(word, '@');
    if (!at || at == word || !at[1])
        return call_usage(c->command, "a snapshot is written NAME@SNAP, not", word);
    *at = '\0';
    c->name = word;
    return add(c, "Snap", at + 1);
}

static void print_snaps(const json_t *snaps)
{
    static const char *const heads[] = { "SNAPSHOT", "SIZE", "CREATED", NULL };
    struct table t;
    size_t i;
    json_t *one;
    table_init(&t, heads);
    json_array_foreach(snaps, i, one)
    {
        char size[32];
        table_add(&t, json_string_value(json_object_get(one, "Name")));
        table_add(&t, text_size((uint64_t)json_integer_value(json_object_get(one, "Size")), size));
        table_add(&t, json_string_value(json_object_get(one, "Created")));
    }
    table_print(&t, stdout, 0);
    table_done(&t);
}

static int snap_ls(struct call *c)
{
    json_auto_t *answer = NULL;
    int rc = expect(c, 2, "it needs the name of a volume");
    if (rc)
        return rc;
    c->name = c->words[1];
    rc = call_ask(c, "/Rbdvol.Snap.List", &answer);
    if (rc)
        return rc;
    if (c->json)
        call_print_json(json_object_get(answer, "Snapshots"));
    else
        print_snaps(json_object_get(answer, "Snapshots"));
    return 0;
}

/* One that has nothing to tell but that it was done. */
static int snap_do(struct call *c, const char *path)
{
    json_auto_t *answer = NULL;
    int rc = expect(c, 2, "it needs NAME@SNAP");
    if (rc == 0)
        rc = take_snap(c, c->words[1]);
    if (rc == 0)
        rc = call_ask(c, path, &answer);
    if (rc)
        return rc;
    if (c->json)
        call_print_json(answer);
    else
        (void)printf("%s@%s\n", c->name, json_string_value(json_object_get(c->more, "Snap")));
    return 0;
}

static int snap_rollback(struct call *c)
{
    if (c->nwords == 2 && strchr(c->words[1], '@') &&
        !call_confirmed(c->words[1], "gives up all that was written to the volume since then")) {
        (void)fprintf(stderr, "rbdvol snap: that is not the name; nothing was done\n");
        return EXIT_FAILED;
    }
    return snap_do(c, "/Rbdvol.Snap.Rollback");
}

int ctl_snap(struct call *c)
{
    const char *verb = c->nwords ? c->words[0] : "";
    if (strcmp(verb, "ls") == 0)
        return snap_ls(c);
    if (strcmp(verb, "create") == 0)
        return snap_do(c, "/Rbdvol.Snap.Create");
    if (strcmp(verb, "rm") == 0)
        return snap_do(c, "/Rbdvol.Snap.Remove");
    if (strcmp(verb, "rollback") == 0)
        return snap_rollback(c);
    return call_usage(c->command, "it needs create, ls, rm or rollback", *verb ? verb : NULL);
}

int ctl_clone(struct call *c)
{
    json_auto_t *answer = NULL;
    if (c->nwords != 2)
        return call_usage(c->command, "it needs what to clone, and the name of the new volume", NULL);
    if (!c->opts)
        c->opts = json_object();
    if (json_object_set_new(c->opts, "from", json_string(c->words[0])) < 0)
        return call_usage(c->command, "not UTF-8:", c->words[0]);
    c->name = c->words[1];
    int rc = call_ask(c, "/VolumeDriver.Create", &answer);
    if (rc == 0)
        (void)printf("%s\n", c->name);
    return rc;
}
