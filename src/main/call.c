/* SPDX-License-Identifier: MIT */
#include "main/call.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "main/client.h"

static int fail(const struct call *c, const struct error *err)
{
    (void)fprintf(stderr, "rbdvol %s: %s\n", c->command, err->msg);
    return EXIT_FAILED;
}

int call_ask(const struct call *c, const char *path, json_t **ret)
{
    struct error err;
    json_auto_t *request = c->more ? json_copy(c->more) : json_object();
    if (c->name && json_object_set_new(request, "Name", json_string(c->name)) < 0) {
        (void)fprintf(stderr, "rbdvol %s: the name is not UTF-8\n", c->command);
        return EXIT_FAILED;
    }
    if (c->opts)
        (void)json_object_set(request, "Opts", c->opts);
    if (c->forever)
        (void)json_object_set_new(request, "Delete", json_true());
    if (c->force)
        (void)json_object_set_new(request, "Force", json_true());
    if (c->go)
        (void)json_object_set_new(request, "Go", json_true());
    if (c->id) /* "-" is the caller without an ID */
        (void)json_object_set_new(request, "ID", json_string(strcmp(c->id, "-") == 0 ? "" : c->id));
    return client_call(c->socket, path, request, ret, &err) < 0 ? fail(c, &err) : 0;
}

void call_print_json(const json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    (void)fputc('\n', stdout);
}

int call_usage(const char *command, const char *what, const char *which)
{
    (void)fprintf(stderr, "rbdvol %s: %s%s%s%s; 'rbdvol help %s' tells more\n", command, what,
                  which ? " '" : "", which ? which : "", which ? "'" : "", command);
    return EXIT_USAGE;
}

bool call_confirmed(const char *name, const char *what)
{
    char line[512];
    if (!isatty(STDIN_FILENO))
        return true;
    (void)fprintf(stderr, "This %s. Type the name, '%s', to go on: ", what, name);
    if (!fgets(line, sizeof line, stdin))
        return false;
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, name) == 0;
}
