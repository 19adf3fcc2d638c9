/* SPDX-License-Identifier: MIT */
#include "main/call.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "main/client.h"

#define STATUS_MS 900

static int fail(const struct call *c, const struct error *err)
{
    (void)fprintf(stderr, "rbdvol %s: %s\n", c->command, err->msg);
    return EXIT_FAILED;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return m <= n && strcmp(text + n - m, end) == 0;
}

/* What the daemon is at with the volume, and what keeps it; "": it does not say. */
static void doing(const struct call *c, char *buf, size_t size)
{
    size_t i;
    json_t *one;
    struct error ignored;
    json_auto_t *request = json_object(), *status = NULL;
    const struct client_patience how = { .ms = STATUS_MS };
    buf[0] = '\0';
    if (!c->name || client_call_patiently(c->socket, "/Rbdvol.Status", request, &how, &status, &ignored) < 0)
        return;
    json_array_foreach(json_object_get(status, "Volumes"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "Name"));
        const char *busy = json_string_value(json_object_get(one, "Busy"));
        if (name && busy && ends_with(name, c->name))
            (void)snprintf(buf, size, "%.80s it, ", busy);
    }
}

struct wait {
    const struct call *call;
    bool shown;
};

/* On a terminal, what takes longer than a second says what it is at, in a line that is gone at the end. */
static void progress(void *arg, int seconds)
{
    struct wait *w = arg;
    const struct call *c = w->call;
    char what[96];
    w->shown = true;
    doing(c, what, sizeof what);
    (void)fprintf(stderr, "\r\033[Krbdvol %s%s%.100s: %s%d s", c->command, c->name ? " " : "",
                  c->name ? c->name : "", what, seconds);
}

static int ask(const struct call *c, const char *path, const json_t *request, json_t **ret, struct error *err)
{
    struct wait w = { .call = c };
    const struct client_patience how = { CLIENT_PATIENCE_MS, isatty(STDERR_FILENO) ? progress : NULL, &w };
    int rc = client_call_patiently(c->socket, path, request, &how, ret, err);
    if (w.shown)
        (void)fputs("\r\033[K", stderr);
    return rc;
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
    if (ask(c, path, request, ret, &err) < 0)
        return fail(c, &err);
    (void)json_object_del(*ret, "Err"); /* "" */
    return 0;
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
