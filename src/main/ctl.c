/* SPDX-License-Identifier: MIT */
#include "main/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "main/ctl-image.h"
#include "main/ctl-trash.h"
#include "main/docker.h"
#include "main/show.h"

static int ctl_ls(struct call *c)
{
    json_auto_t *answer = NULL;
    int rc = call_ask(c, "/VolumeDriver.List", &answer);
    if (rc)
        return rc;
    const json_t *volumes = json_object_get(answer, "Volumes");
    json_auto_t *none = json_array();
    if (!json_is_array(volumes))
        volumes = none;
    if (c->json)
        call_print_json(volumes);
    else
        show_list(volumes);
    return 0;
}

static int ctl_show(struct call *c)
{
    json_auto_t *answer = NULL;
    int rc = call_ask(c, "/VolumeDriver.Get", &answer);
    if (rc)
        return rc;
    const json_t *volume = json_object_get(answer, "Volume");
    if (!json_is_object(volume)) {
        (void)fprintf(stderr, "rbdvol show: the daemon answered without a volume\n");
        return EXIT_FAILED;
    }
    if (c->json)
        call_print_json(volume);
    else
        show_volume(volume);
    return 0;
}

static int ctl_create(struct call *c)
{
    json_auto_t *answer = NULL;
    int rc = call_ask(c, "/VolumeDriver.Create", &answer);
    if (rc == 0)
        (void)printf("%s\n", c->name);
    return rc;
}

static int ctl_rm(struct call *c)
{
    json_auto_t *answer = NULL;
    if (c->forever && !call_confirmed(c->name, "deletes the volume and all its data for good")) {
        (void)fprintf(stderr, "rbdvol rm: that is not the volume's name; nothing was deleted\n");
        return EXIT_FAILED;
    }
    int rc = call_ask(c, c->forever ? "/Rbdvol.Remove" : "/VolumeDriver.Remove", &answer);
    if (rc == 0)
        (void)printf("%s\n", c->name);
    return rc;
}

static int ctl_path(struct call *c)
{
    json_auto_t *answer = NULL;
    int rc = call_ask(c, "/VolumeDriver.Path", &answer);
    if (rc)
        return rc;
    const char *path = json_string_value(json_object_get(answer, "Mountpoint"));
    if (!path || !*path) {
        (void)fprintf(stderr, "rbdvol path: '%s' is not mounted on this host\n", c->name);
        return EXIT_FAILED;
    }
    if (c->json)
        call_print_json(json_object_get(answer, "Mountpoint"));
    else
        (void)printf("%s\n", path);
    return 0;
}

static int ctl_status(struct call *c)
{
    json_auto_t *answer = NULL;
    int rc = call_ask(c, "/Rbdvol.Status", &answer);
    if (rc)
        return rc;
    docker_add_containers(answer);
    if (c->json)
        call_print_json(answer);
    else
        show_status(answer);
    return 0;
}

static int ctl_release(struct call *c)
{
    json_auto_t *answer = NULL;
    int rc = call_ask(c, "/Rbdvol.Release", &answer);
    if (rc)
        return rc;
    size_t left = json_array_size(json_object_get(answer, "Holders"));
    if (c->json)
        call_print_json(answer);
    else
        (void)printf("%lld dropped, %zu left%s\n",
                     (long long)json_integer_value(json_object_get(answer, "Dropped")), left,
                     left ? " ('rbdvol show' tells which)" : "");
    return 0;
}

/* What unlocking does to the owner, by the state that it is in. */
static const char *unlock_effect(const char *state)
{
    if (strcmp(state, "by hand") == 0)
        return "takes a lock away that somebody set by hand, and fences its client; a program that uses the "
               "image "
               "without having it open for writing now cannot be seen, nor fenced";
    if (strcmp(state, "alive") == 0)
        return "fences a client that is alive: what it has not written yet is lost, and what uses it gets "
               "I/O errors";
    if (strcmp(state, "unknown") == 0)
        return "fences a client that may be alive (the cluster is slow just now, so that its silence says "
               "nothing): what it has not written yet is lost then";
    return "fences the owner's client for 30 days and takes its lock away";
}

static int ctl_unlock(struct call *c)
{
    json_auto_t *found = NULL, *done = NULL;
    struct call go = *c;
    int rc = call_ask(c, "/Rbdvol.Unlock", &found); /* only looks */
    if (rc)
        return rc;
    const char *state = json_string_value(json_object_get(found, "State"));
    bool free = state && strcmp(state, "free") == 0;
    if (!c->json)
        show_lock(found);
    if (!c->json && !free && !isatty(STDIN_FILENO)) /* whoever is asked to confirm is told there */
        (void)printf("unlocking      %s\n", unlock_effect(state ? state : ""));
    if (!free && !call_confirmed(c->name, unlock_effect(state ? state : ""))) {
        (void)fprintf(stderr, "rbdvol unlock: that is not the volume's name; nothing was done\n");
        return EXIT_FAILED;
    }
    go.go = true;
    if (!free && (rc = call_ask(&go, "/Rbdvol.Unlock", &done)) != 0)
        return rc;
    if (c->json)
        call_print_json(free ? found : done);
    else if (!free)
        (void)puts("unlocked");
    return 0;
}

static const struct command_row {
    const char *name;
    int (*run)(struct call *c);
    bool named, opts, json, deletes, releases, forces, words, all; /* what it takes */
} commands[] = {
    { "ls", ctl_ls, .json = true },
    { "show", ctl_show, .named = true, .json = true },
    { "create", ctl_create, .named = true, .opts = true },
    { "rm", ctl_rm, .named = true, .deletes = true },
    { "path", ctl_path, .named = true, .json = true },
    { "status", ctl_status, .json = true },
    { "release", ctl_release, .named = true, .json = true, .releases = true, .forces = true },
    { "unlock", ctl_unlock, .named = true, .json = true, .forces = true },
    { "resize", ctl_resize, .words = true, .json = true },
    { "snap", ctl_snap, .words = true, .json = true },
    { "clone", ctl_clone, .words = true, .opts = true },
    { "trash", ctl_trash, .words = true, .json = true },
    { "trim", ctl_trim, .words = true, .json = true, .all = true },
};

static int add_opt(struct call *c, const char *text)
{
    const char *equals = strchr(text, '=');
    auto_free char *key = equals ? strndup(text, (size_t)(equals - text)) : NULL;
    if (!key || !*key)
        return call_usage(c->command, "options are written -o KEY=VALUE, not", text);
    if (!c->opts)
        c->opts = json_object();
    if (json_object_get(c->opts, key))
        return call_usage(c->command, "this option is given twice:", key);
    if (json_object_set_new(c->opts, key, json_string(equals + 1)) < 0)
        return call_usage(c->command, "not UTF-8:", text);
    return 0;
}

static int set_socket(struct call *c, const char *name, const char *path)
{
    if (name && !text_is_name(name))
        return call_usage(c->command, "not the name of an instance:", name);
    int n = path ? snprintf(c->socket, sizeof c->socket, "%s", path)
                 : snprintf(c->socket, sizeof c->socket, "/run/docker/plugins/%s.sock", name ? name : "rbd");
    return n < (int)sizeof c->socket ? 0 : call_usage(c->command, "the path of the socket is too long", NULL);
}

enum { OPT_SOCKET = 256, OPT_NAME, OPT_JSON, OPT_DELETE, OPT_FORCE, OPT_ALL };

static int parse(struct call *c, const struct command_row *row, int argc, char **argv)
{
    static const struct option flags[] = { { "socket", required_argument, NULL, OPT_SOCKET },
                                           { "name", required_argument, NULL, OPT_NAME },
                                           { "json", no_argument, NULL, OPT_JSON },
                                           { "delete", no_argument, NULL, OPT_DELETE },
                                           { "opt", required_argument, NULL, 'o' },
                                           { "force", no_argument, NULL, OPT_FORCE },
                                           { "all", no_argument, NULL, OPT_ALL },
                                           { NULL, 0, NULL, 0 } };
    const char *socket = NULL, *name = NULL;
    int flag, rc;
    opterr = 0;
    while ((flag = getopt_long(argc, argv, ":o:", flags, NULL)) != -1) {
        if (flag == OPT_SOCKET)
            socket = optarg;
        else if (flag == OPT_NAME)
            name = optarg;
        else if (flag == OPT_JSON && row->json)
            c->json = true;
        else if (flag == OPT_DELETE && row->deletes)
            c->forever = true;
        else if (flag == OPT_FORCE && row->forces)
            c->force = true;
        else if (flag == OPT_ALL && row->all)
            c->all = true;
        else if (flag == ':')
            return call_usage(c->command, "this needs a value:", argv[optind - 1]);
        else if (flag != 'o' || !row->opts)
            return call_usage(c->command, "there is no option", argv[optind - 1]);
        else if ((rc = add_opt(c, optarg)) != 0)
            return rc;
    }
    if (row->words) {
        c->words = argv + optind;
        c->nwords = argc - optind;
        optind = argc;
    }
    if (row->named && optind == argc)
        return call_usage(c->command, "it needs the name of a volume", NULL);
    if (row->named)
        c->name = argv[optind++];
    if (row->releases && optind < argc)
        c->id = argv[optind++];
    if (c->force && row->releases && !c->id)
        return call_usage(c->command, "--force needs the ID of the holder", NULL);
    if (optind < argc)
        return call_usage(c->command, "one argument too many:", argv[optind]);
    return set_socket(c, name, socket);
}

int ctl_main(int argc, char **argv)
{
    const char *command = argv[0];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, command) != 0)
            continue;
        struct call c = { .command = command };
        int rc = parse(&c, &commands[i], argc, argv);
        if (rc == 0)
            rc = commands[i].run(&c);
        json_decref(c.opts);
        json_decref(c.more);
        if (rc == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
            (void)fprintf(stderr, "rbdvol %s: cannot write the output: %s\n", command, error_text(errno));
            rc = EXIT_FAILED;
        }
        return rc;
    }
    (void)fprintf(stderr, "rbdvol: there is no command '%s'; 'rbdvol help' lists them\n", command);
    return EXIT_USAGE;
}
