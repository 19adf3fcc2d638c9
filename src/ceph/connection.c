/* SPDX-License-Identifier: MIT */
#include "ceph/connection.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FOR_CONTROL (1u << CONNECTION_CONTROL)
#define FOR_DATA    (1u << CONNECTION_DATA)
#define FOR_BOTH    (FOR_CONTROL | FOR_DATA)

struct forced_option {
    const char *key, *value; /* NULL: the time-out, in seconds */
    unsigned kinds;
};

/* What our safety rests on: set over the file's value, and read back. rados_conf_set's values also win over
 * those that the monitors hand out (`ceph config set`), which arrive with the connection: hence the second
 * reading after it. */
static const struct forced_option safety_options[] = {
    { "rbd_cache", "false", FOR_BOTH },
    { "rbd_blocklist_on_break_lock", "true", FOR_BOTH },
    { "rbd_blocklist_expire_seconds", "0", FOR_BOTH },
    { "client_mount_timeout", NULL, FOR_BOTH },
    { "rados_mon_op_timeout", NULL, FOR_CONTROL },
    { "rados_osd_op_timeout", NULL, FOR_CONTROL },
    { "rados_mon_op_timeout", "0", FOR_DATA },
    { "rados_osd_op_timeout", "0", FOR_DATA },
};

/* Wishes: a library that does not know one of them works without it. The debug levels are not only about
 * output: at their defaults every operation leaves a few lines in a ring in memory. */
static const struct forced_option quiet_options[] = {
    { "admin_socket", "", FOR_BOTH },
    { "log_file", "", FOR_BOTH },
    { "log_to_file", "false", FOR_BOTH },
    { "log_to_stderr", "false", FOR_BOTH },
    { "err_to_stderr", "false", FOR_BOTH },
    { "log_to_syslog", "false", FOR_BOTH },
    { "err_to_syslog", "false", FOR_BOTH },
    { "log_max_recent", "1", FOR_BOTH },
    { "debug_auth", "0/0", FOR_BOTH },
    { "debug_context", "0/0", FOR_BOTH },
    { "debug_finisher", "0/0", FOR_BOTH },
    { "debug_monc", "0/0", FOR_BOTH },
    { "debug_ms", "0/0", FOR_BOTH },
    { "debug_objecter", "0/0", FOR_BOTH },
    { "debug_rados", "0/0", FOR_BOTH },
    { "debug_rbd", "0/0", FOR_BOTH },
    { "debug_striper", "0/0", FOR_BOTH },
    { "debug_timer", "0/0", FOR_BOTH },
    /* How many objects a purge deletes at a time (10): it has the night, and what runs has not. */
    { "rbd_concurrent_management_ops", "2", FOR_CONTROL },
    /* Without the copy, a write that fails (past the end of an image that was shrunk) never completes
       in 16.2.15. */
    { "rbd_disable_zero_copy_writes", "true", FOR_DATA },
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* In whole seconds, rounded up: some of these options take no fractions, and 0 would mean "for ever". */
static const char *seconds_of(const struct connection_options *opts, char buf[static 24])
{
    int64_t s = (opts->timeout_ms + 999) / 1000;
    (void)snprintf(buf, 24, "%lld", (long long)(s > 0 ? s : 1));
    return buf;
}

/* "5", "5.000000" and "5s" are one number; "false" and "False" are one truth. */
static bool same_value(const char *want, const char *have)
{
    char *end_want, *end_have;
    double a = strtod(want, &end_want), b = strtod(have, &end_have);
    if (end_want != want)
        return end_have != have && a <= b && a >= b && (*end_have == '\0' || strcmp(end_have, "s") == 0);
    return strcasecmp(want, have) == 0;
}

/* The values are of our own table: none of them is a secret. */
static int safety_check(rados_t rados, const struct connection_options *opts, enum connection_kind kind,
                        struct error *err)
{
    char seconds[24], have[64];
    for (size_t i = 0; i < COUNT(safety_options); i++) {
        const struct forced_option *o = &safety_options[i];
        if (!(o->kinds & 1u << kind))
            continue;
        const char *want = o->value ? o->value : seconds_of(opts, seconds);
        int rc = rados_conf_get(rados, o->key, have, sizeof have);
        if (rc < 0 || !same_value(want, have))
            return error_set(err, -EIO,
                             "this version of librados does not let '%s' be set to %s (it says %s)", o->key,
                             want, rc < 0 ? error_text(rc) : have);
    }
    return 0;
}

static int options_force(rados_t rados, const struct connection_options *opts, enum connection_kind kind,
                         struct error *err)
{
    char seconds[24];
    for (size_t i = 0; i < COUNT(quiet_options); i++)
        if (quiet_options[i].kinds & 1u << kind)
            (void)rados_conf_set(rados, quiet_options[i].key, quiet_options[i].value);
    for (size_t i = 0; i < COUNT(safety_options); i++) {
        const struct forced_option *o = &safety_options[i];
        if (!(o->kinds & 1u << kind))
            continue;
        const char *want = o->value ? o->value : seconds_of(opts, seconds);
        int rc = rados_conf_set(rados, o->key, want);
        if (rc < 0)
            return error_set(err, -EIO, "cannot set '%s' to %s: %s", o->key, want, error_text(rc));
    }
    return safety_check(rados, opts, kind, err);
}

int connection_prepare(const struct connection_options *opts, enum connection_kind kind, rados_t *ret,
                       struct error *err)
{
    char name[256];
    rados_t rados;
    if (snprintf(name, sizeof name, "client.%s", opts->user) >= (int)sizeof name)
        return error_set(err, -EINVAL, "the name of the Ceph user is too long");
    int rc = rados_create2(&rados, opts->cluster, name, 0);
    if (rc < 0)
        return error_set(err, rc == -ENOENT ? -ENODEV : rc, "cannot set up a Ceph client for %s: %s", name,
                         error_text(rc));
    rc = rados_conf_read_file(rados, opts->conf);
    if (rc < 0)
        rc = error_set(err, rc == -ENOENT ? -ENODEV : rc, "cannot read the Ceph configuration %s: %s",
                       opts->conf ? opts->conf : "(default path)", error_text(rc));
    else
        rc = options_force(rados, opts, kind, err);
    if (rc < 0) {
        rados_shutdown(rados);
        return rc;
    }
    *ret = rados;
    return 0;
}

/* Why rados_connect failed. It says -ENOENT for three things, none of which is a missing image. */
static int connect_error(rados_t rados, const struct connection_options *opts, int rc, struct error *err)
{
    char hosts[256] = "", keyring[512] = "";
    (void)rados_conf_get(rados, "mon_host", hosts, sizeof hosts);
    if (opts->keyring)
        (void)snprintf(keyring, sizeof keyring, "%s", opts->keyring);
    else
        (void)rados_conf_get(rados, "keyring", keyring, sizeof keyring);
    switch (rc) {
    case -ETIMEDOUT:
        return error_set(err, rc, "no Ceph monitor answered within %lld ms (mon_host %s)",
                         (long long)opts->timeout_ms, hosts);
    case -ENOENT:
    case -EOPNOTSUPP: /* without a key it goes on to offer no authentication, and is turned away for that */
        if (!*hosts)
            return error_set(err, -ENODEV, "%s names no monitors (mon_host)",
                             opts->conf ? opts->conf : "the Ceph configuration");
        return error_set(err, -ENODEV, "no key for client.%s was found (looked in %s)", opts->user, keyring);
    case -EPERM:
    case -EACCES:
        return error_set(err, -EPERM, "the cluster refused client.%s: unknown user or wrong key (keyring %s)",
                         opts->user, keyring);
    case -ECONNREFUSED:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -ENOTCONN:
        return error_set(err, -ENOTCONN, "cannot reach a Ceph monitor (mon_host %s): %s", hosts,
                         error_text(rc));
    default:
        return error_set(err, rc, "cannot connect to the cluster as client.%s: %s", opts->user,
                         error_text(rc));
    }
}

int connection_start(rados_t rados, const struct connection_options *opts, enum connection_kind kind,
                     struct error *err)
{
    int rc = rados_connect(rados);
    if (rc < 0)
        rc = connect_error(rados, opts, rc, err);
    else
        rc = safety_check(rados, opts, kind, err);
    if (rc < 0)
        rados_shutdown(rados);
    return rc;
}

int connection_open(const struct connection_options *opts, enum connection_kind kind, rados_t *ret,
                    struct error *err)
{
    rados_t rados;
    int rc = connection_prepare(opts, kind, &rados, err);
    if (rc == 0)
        rc = connection_start(rados, opts, kind, err);
    if (rc == 0)
        *ret = rados;
    return rc;
}

int connection_address(rados_t rados, char *buf, size_t size, struct error *err)
{
    char *addrs = NULL;
    int rc = rados_getaddrs(rados, &addrs);
    if (rc < 0)
        return error_set(err, rc, "cannot tell the client's own address: %s", error_text(rc));
    /* "ip:port/nonce", "v1:ip:port/nonce", or "[v2:…,v1:…]", of which all have one nonce. "[" may also begin
     * an IPv6 address. */
    bool list = addrs[0] == '[' && (addrs[1] == 'v' || addrs[1] == 'a');
    const char *from = addrs + (list ? 1 : 0);
    if (strncmp(from, "v1:", 3) == 0 || strncmp(from, "v2:", 3) == 0)
        from += 3;
    else if (strncmp(from, "any:", 4) == 0)
        from += 4;
    size_t len = strcspn(from, ",");
    if (list && len && from[len - 1] == ']')
        len--;
    rc = !memchr(from, '/', len) || len >= size ? -EPROTO : 0;
    if (rc == 0)
        (void)snprintf(buf, size, "%.*s", (int)len, from);
    else
        (void)error_set(err, rc, "the client's own address '%s' is not of the form ip:port/nonce", addrs);
    rados_buffer_free(addrs);
    return rc;
}
