/* SPDX-License-Identifier: MIT */
/* Builds the settings from flags, file and environment, in this order of precedence. */
#pragma once

#include <limits.h>

#include "base/error.h"
#include "main/options.h"
#include "volume/settings.h"

#define CONFIG_OPTIONS_MAX 64

struct config {
    struct settings settings;
    char file[PATH_MAX];              /* the file that was read; "" when there is none */
    char *origin[CONFIG_OPTIONS_MAX]; /* by row of the table: "--size", "/etc/rbdvol/rbd.conf:12: size"; NULL:
                                         its default */
};

/* Reads flags ("--size=20G", argv[0..argc-1]), the file that --config or RBDVOL_CONFIG names (or the default
 * one, which may be absent) and RBDVOL_* of the environment. Everything is checked, also what something else
 * overrides; an unknown option is an error. -EINVAL: the message begins with where the bad value came from.
 */
int config_load(int argc, const char *const *argv, const char *const *environment, struct config *ret,
                struct error *err);

/* Where the option was set, or its name when it has its default: the beginning of a message about its value.
 */
const char *config_origin(const struct config *config, const char *option);

void config_free(struct config *config);
