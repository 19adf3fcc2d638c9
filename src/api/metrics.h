/* SPDX-License-Identifier: MIT */
/* GET /metrics: what a monitoring system asks, in Prometheus' text format 0.0.4. */
#pragma once

#include <stdint.h>

struct volumes;

enum metrics_result {
    METRICS_OK,
    METRICS_ABSENT,     /* the cluster said that there is no such volume */
    METRICS_ERROR,      /* refused or failed */
    METRICS_MALFORMED,  /* the request was */
    METRICS_UNANSWERED, /* a Get whose connection was closed, since an error would have been misunderstood */
};

/* Counts one request. `path` is a route's. Thread-safe. */
void metrics_count(const char *path, enum metrics_result result, int64_t us);

/* The page; the caller frees it. Asks nobody: never waits for the cluster or for a volume's gate. */
char *metrics_page(struct volumes *volumes);
