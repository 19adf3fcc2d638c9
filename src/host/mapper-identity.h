/* SPDX-License-Identifier: MIT */
/* What tells which mapping a process of our own mapper has. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "host/mapper.h"

/* The value of the word that begins with this name ("--mapping="); NULL: there is none. */
const char *mapper_identity_argument(char *const *argv, const char *name);

/* By the socket RUN-DIR/ID.sock on which it listens: the kernel knows who does, and the process is not asked,
 * which may hang. False: it has none there. */
bool mapper_identity_socket(const char *run_dir, pid_t pid, char id[static MAPPING_ID_LEN + 1]);
