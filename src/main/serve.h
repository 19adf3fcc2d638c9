/* SPDX-License-Identifier: MIT */
/* The daemon: the order of its start and its end. */
#pragma once

/* argv holds the arguments behind "serve". Returns the exit status: 0 stopped by a signal, 1 failed, 2 wrong
 * usage or configuration. */
int serve_main(int argc, char *const *argv);
