/* SPDX-License-Identifier: MIT */
/* What each path does: a JSON object in, a JSON object out. */
#pragma once

#include <jansson.h>

#include "api/api.h"
#include "base/error.h"
#include "volume/mounting.h"

/* One request on its way through a route. */
struct exchange {
    struct volumes *volumes;
    const struct caller *caller;
    json_t *in;  /* {} when the body was empty and the route takes none */
    json_t *out; /* the answer's members, but Err */
    struct grant **grant;
    bool malformed; /* set by the route: the error is about a field that is missing or of the wrong type */
};

struct route {
    const char *path;
    bool needs_body; /* an empty body is Docker's repetition of a cut request: refused, without effect */
    bool is_get; /* VolumeDriver.Get: an answered error makes Docker forget the volume, so what could not be
                    asked is not answered, and neither is an empty body */
    int (*run)(struct exchange *x, struct error *err);
};

/* The route of a path, NULL: there is none. */
const struct route *routes_find(const char *path);
