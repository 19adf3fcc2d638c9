/* SPDX-License-Identifier: MIT */
/* What `rbdvol help` prints. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* The overview. */
void help_overview(FILE *out);

/* A command's own page; false: there is no such command. */
bool help_command(const char *command, FILE *out);
