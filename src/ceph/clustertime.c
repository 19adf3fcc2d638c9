/* SPDX-License-Identifier: MIT */
#include "ceph/clustertime.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ceph/moncommand.h"

/* A large cluster's report is some MiB, and there may be a thousand of us. */
#define ASK_AGAIN_S (24 * 3600)

static struct {
    pthread_mutex_t lock; /* a leaf */
    bool known;
    int64_t offset; /* of the monitors' clock from clock_boot_s() */
    int64_t asked;  /* by clock_boot_s() */
} cached = { .lock = PTHREAD_MUTEX_INITIALIZER };

time_t clustertime_parse(const char *text)
{
    struct tm tm = { 0 };
    int hours = 0, minutes = 0;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        return 0;
    rest += strcspn(rest, "+-Z");
    if (*rest != 'Z' && *rest && sscanf(rest + 1, "%2d%2d", &hours, &minutes) != 2)
        return 0;
    time_t zone = (time_t)(hours * 3600 + minutes * 60) * (*rest == '-' ? -1 : 1);
    return timegm(&tm) - zone;
}

static bool remembered(time_t *ret)
{
    int64_t boot = clock_boot_s();
    LOCK_SCOPE(&cached.lock);
    if (!cached.known || boot - cached.asked >= ASK_AGAIN_S)
        return false;
    *ret = (time_t)(boot + cached.offset);
    return true;
}

int clustertime(const struct place *p, time_t *ret, struct error *err)
{
    json_auto_t *report = NULL;
    if (remembered(ret))
        return 0;
    int rc =
        moncommand(rados_ioctx_get_cluster(p->io), "{\"prefix\":\"report\",\"format\":\"json\"}", &report);
    if (rc == -EACCES || rc == -EPERM) {
        *ret = time(NULL);
        return 0;
    }
    if (rc < 0)
        return place_error(p, rc, err, "cannot ask the monitors for the time");
    const char *text = json_string_value(json_object_get(report, "timestamp"));
    time_t now = text ? clustertime_parse(text) : 0;
    if (now == 0)
        return error_set(err, -EPROTO, "the monitors do not tell the time");
    LOCK_SCOPE(&cached.lock);
    cached.asked = clock_boot_s();
    cached.offset = now - cached.asked;
    cached.known = true;
    *ret = now;
    return 0;
}
