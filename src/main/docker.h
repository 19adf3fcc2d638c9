/* SPDX-License-Identifier: MIT */
/* Docker's view of who uses a volume, for people: the daemon itself never asks Docker, which may be waiting
 * for it. */
#pragma once

#include <jansson.h>

/* Adds to each of the status' Volumes "Containers": the names of the running containers that have it. Without
 * them when no Docker answers within a second, at DOCKER_HOST (unix://) or /run/docker.sock. */
void docker_add_containers(json_t *status);
