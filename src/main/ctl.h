/* SPDX-License-Identifier: MIT */
/* The commands that ask the daemon. */
#pragma once

/* Runs "ls", "show", ... with its arguments (argv[0] is the command). Returns the exit status: 0 done, 1
 * failed, 2 wrong usage. */
int ctl_main(int argc, char **argv);
