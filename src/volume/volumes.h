/* SPDX-License-Identifier: MIT */
/* The engine: all volumes of this host, and what can be asked of them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "volume/settings.h"

struct volumes;

/* Starts the engine: begins to connect to the cluster in the background, looks at what is mapped and mounted
 * here and adopts it. Does not wait for Ceph. The settings must outlive it. */
int volumes_start(const struct settings *settings, struct volumes **ret, struct error *err);

/* Stops it; volumes stay mounted. No request may be running. NULL is fine. */
void volumes_stop(struct volumes *v);

/* One line for sd_notify's STATUS= and for /healthz: "cluster up, 3 volumes mounted". Never blocks. */
void volumes_summary(struct volumes *v, char *buf, size_t size);
