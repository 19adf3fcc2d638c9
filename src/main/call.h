/* SPDX-License-Identifier: MIT */
/* One command of the command line that asks the daemon: what it was given, and what its answer becomes. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

#define EXIT_FAILED 1
#define EXIT_USAGE  2

struct call {
    const char *command;
    char socket[200];
    const char *name; /* of the volume, for commands that take one */
    const char *id;   /* of a holder, for release */
    json_t *opts;     /* of create */
    json_t *more;     /* other members of the request; NULL: none */
    bool json, forever, force, go, all;
    char **words; /* the words behind the command, for one that reads them itself */
    int nwords;
};

/* Asks the daemon; 0 or the exit status of a failure that has been told. */
int call_ask(const struct call *c, const char *path, json_t **ret);

void call_print_json(const json_t *value);

/* Tells what is wrong with the command line: "rbdvol COMMAND: what 'which'; ..."; which may be NULL. Returns
 * the exit status. */
int call_usage(const char *command, const char *what, const char *which);

/* On a terminal, what nothing can undo asks for the name. */
bool call_confirmed(const char *name, const char *what);
