/* SPDX-License-Identifier: MIT */
/* What `rbdvol help` prints. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* The overview. */
void help_overview(FILE *out);

/* A command's own page; false: there is no such command. */
bool help_command(const char *command, FILE *out);

/* Is this a command that a later version will have? */
bool help_is_later(const char *command);
