/* SPDX-License-Identifier: MIT */
#include "ceph/fullness.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/job.h"
#include "ceph/moncommand.h"

#define ASK_MS 1000

/* Is this one of the words between commas? */
static bool has_flag(const char *flags, const char *flag)
{
    size_t n = strlen(flag);
    for (const char *at = flags; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, flag, n) == 0 && (at[n] == ',' || at[n] == '\0'))
            return true;
    return false;
}

static const char *flags_of(const json_t *j, const char *key)
{
    const char *flags = json_string_value(json_object_get(j, key));
    return flags ? flags : "";
}

static int judge(const json_t *dump, int64_t pool_id, struct error *err)
{
    size_t i;
    json_t *pool;
    json_array_foreach(json_object_get(dump, "pools"), i, pool)
    {
        const char *flags = flags_of(pool, "flags_names"), *name = flags_of(pool, "pool_name");
        if (json_integer_value(json_object_get(pool, "pool")) != pool_id || !has_flag(flags, "full"))
            continue;
        return error_set(err, -ENOSPC, "pool '%.100s' is full%s: nothing can be written to it (`ceph df`)",
                         name, has_flag(flags, "full_quota") ? " (its quota is used up)" : "");
    }
    const char *flags = flags_of(dump, "flags");
    if (has_flag(flags, "full"))
        return error_set(err, -ENOSPC, "the cluster is full: nothing can be written (`ceph health detail`)");
    if (has_flag(flags, "pausewr"))
        return error_set(err, -ENOSPC,
                         "the cluster is paused: nothing can be written until `ceph osd unpause`");
    return 0;
}

static int ask(void *arg, struct error *err)
{
    const struct place *p = arg;
    json_auto_t *dump = NULL;
    if (moncommand(rados_ioctx_get_cluster(p->io), "{\"prefix\":\"osd dump\",\"format\":\"json\"}", &dump) <
        0)
        return 0;
    return judge(dump, rados_ioctx_get_id(p->io), err);
}

static void asked(void *arg)
{
    place_done(arg);
    free(arg);
}

int fullness_check(const struct place *p, struct error *err)
{
    struct place *own = malloc(sizeof *own);
    if (!own)
        abort();
    *own = place_again(p);
    return job_run(ask, asked, own, clock_in_ms(ASK_MS), err) == -ENOSPC ? -ENOSPC : 0;
}
