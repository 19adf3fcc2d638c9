/* SPDX-License-Identifier: MIT */
/* Create: a volume is born formatted. */
#pragma once

#include "volume/engine.h"

/* Makes the volume, or finds that it is there and as asked for. opts may be NULL. -EEXIST: it differs. */
int create_volume(struct volumes *e, const char *name, const json_t *opts, moment deadline,
                  struct error *err);
