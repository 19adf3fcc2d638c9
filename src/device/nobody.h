/* SPDX-License-Identifier: MIT */
#pragma once

/* Runs the program (argv[0], looked up in PATH) as nobody: no groups, no capabilities and no way to gain any,
 * and no sight of what is mounted on this host. Returns only when it could not: an exit status, 127 if there
 * is no such program. */
int nobody_exec(char *const *argv);
