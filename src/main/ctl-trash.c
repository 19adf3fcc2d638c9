/* SPDX-License-Identifier: MIT */
#include "main/ctl-trash.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "main/table.h"

static void print_trash(const json_t *volumes)
{
    static const char *const heads[] = { "NAME", "ID", "REMOVED", "KEPT UNTIL", NULL };
    static const char *const keys[] = { "Name", "Id", "Trashed", "Until" };
    struct table t;
    size_t i;
    json_t *one;
    table_init(&t, heads);
    json_array_foreach(volumes, i, one)
    {
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            const char *text = json_string_value(json_object_get(one, keys[k]));
            table_add(&t, text ? text : "");
        }
    }
    table_print(&t, stdout, 0);
    table_done(&t);
}

static int trash_ls(struct call *c)
{
    json_auto_t *answer = NULL;
    if (c->nwords > 1)
        return call_usage(c->command, "one argument too many:", c->words[1]);
    int rc = call_ask(c, "/Rbdvol.Trash.List", &answer);
    if (rc)
        return rc;
    if (c->json)
        call_print_json(json_object_get(answer, "Volumes"));
    else
        print_trash(json_object_get(answer, "Volumes"));
    return 0;
}

static int trash_restore(struct call *c)
{
    json_auto_t *answer = NULL;
    if (c->nwords < 2 || c->nwords > 3)
        return call_usage(
            c->command, "restore needs the name or the id of a removed volume, and may get a new name", NULL);
    c->name = c->words[1];
    if (c->nwords == 3)
        c->more = json_pack("{s:s}", "As", c->words[2]);
    int rc = call_ask(c, "/Rbdvol.Trash.Restore", &answer);
    if (rc)
        return rc;
    if (c->json)
        call_print_json(answer);
    else
        (void)puts(json_string_value(json_object_get(answer, "Name")));
    return 0;
}

static int trash_purge(struct call *c)
{
    json_auto_t *answer = NULL;
    if (c->nwords > 2)
        return call_usage(c->command, "one argument too many:", c->words[2]);
    if (c->nwords == 2) {
        c->name = c->words[1];
        if (!call_confirmed(c->name, "deletes the removed volume and all its data for good")) {
            (void)fprintf(stderr, "rbdvol trash: that is not the name; nothing was deleted\n");
            return EXIT_FAILED;
        }
    }
    return call_ask(c, "/Rbdvol.Trash.Purge", &answer);
}

int ctl_trash(struct call *c)
{
    const char *verb = c->nwords ? c->words[0] : "";
    if (strcmp(verb, "ls") == 0)
        return trash_ls(c);
    if (strcmp(verb, "restore") == 0)
        return trash_restore(c);
    if (strcmp(verb, "purge") == 0)
        return trash_purge(c);
    return call_usage(c->command, "it needs ls, restore or purge", *verb ? verb : NULL);
}

/* However long it takes: the daemon answers in its budget, and then goes on with it. */
static int trim_one(struct call *c, const char *name)
{
    char size[32];
    json_auto_t *answer = NULL;
    c->name = name;
    int rc = call_ask(c, "/Rbdvol.Trim", &answer);
    while (rc == 0 && json_is_string(json_object_get(answer, "Going"))) {
        json_auto_t *before = answer;
        c->more = json_pack("{s:O}", "After", json_object_get(before, "Going"));
        answer = NULL;
        rc = call_ask(c, "/Rbdvol.Trim", &answer);
        json_decref(c->more);
        c->more = NULL;
    }
    if (rc)
        return rc;
    if (c->json)
        call_print_json(answer);
    else
        (void)printf("%s: %s free\n", name,
                     text_size((uint64_t)json_integer_value(json_object_get(answer, "Trimmed")), size));
    return 0;
}

/* One after the other; the first failure is the exit status. What is read-only has nothing to give back. */
static int trim_all(struct call *c)
{
    size_t i;
    json_t *one;
    json_auto_t *status = NULL;
    int rc = call_ask(c, "/Rbdvol.Status", &status);
    if (rc)
        return rc;
    json_array_foreach(json_object_get(status, "Volumes"), i, one)
    {
        const char *at = json_string_value(json_object_get(one, "Mountpoint"));
        bool writable = at && *at && !json_is_true(json_object_get(one, "ReadOnly"));
        int failed = writable ? trim_one(c, json_string_value(json_object_get(one, "Name"))) : 0;
        rc = rc ? rc : failed;
    }
    return rc;
}

int ctl_trim(struct call *c)
{
    if (c->all ? c->nwords > 0 : c->nwords != 1)
        return call_usage(c->command, "it needs the name of a volume, or --all", NULL);
    return c->all ? trim_all(c) : trim_one(c, c->words[0]);
}
