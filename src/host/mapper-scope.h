/* SPDX-License-Identifier: MIT */
#pragma once

#include "host/mapper.h"

/* Moves a mapping process into a scope of its own (host/scope.h), in which it outlives this service. Best
 * effort: where it cannot be, it stays where it is, and the log says so. */
void mapper_give_scope(const struct mapper_host *host, const struct mapper_image *image,
                       const struct mapping *m, pid_t pid, moment deadline);
