/* SPDX-License-Identifier: MIT */
/* Makes a connection to the cluster with the options that our safety rests on. */
#pragma once

#include <rados/librados.h>
#include <stdint.h>

#include "base/error.h"

enum connection_kind {
    /* For questions and administration: every operation is bounded by timeout_ms. */
    CONNECTION_CONTROL,
    /* For a volume's data: no operation time-outs, since a write that timed out is not a write that was
     * cancelled (it lands when the link heals, over the next owner's data); only connecting is bounded. */
    CONNECTION_DATA,
};

struct connection_options {
    const char *conf;    /* path of ceph.conf */
    const char *cluster; /* "ceph" */
    const char *user;    /* without "client." */
    int64_t timeout_ms;
    const char *keyring; /* for messages: where the key was read, when that is not what `keyring` says by now;
                            or NULL */
};

/* rados_create2, read the file, then force over it, and read back:
 *   rbd_cache=false                       a write-back cache acks writes after fencing
 *   rbd_blocklist_on_break_lock=true, rbd_blocklist_expire_seconds=0
 *                                         16.2.15 sends any other value as a string, which the monitor
 * refuses CONTROL: client_mount_timeout, rados_mon_op_timeout, rados_osd_op_timeout = timeout_ms DATA:
 * client_mount_timeout = timeout_ms, rados_mon_op_timeout = rados_osd_op_timeout = 0 admin_socket=""
 * log_to_stderr=false err_to_stderr=false log_file="" and so on: it logs nothing by itself then
 * rados_connect. Blocks up to timeout_ms (client_mount_timeout is the one thing that bounds rados_connect).
 * -ENOENT never comes back: a missing file or key is -ENODEV, with the path in the message. -ETIMEDOUT,
 * -ENOTCONN: no monitor answered. -EPERM: the key was refused. */
int connection_open(const struct connection_options *opts, enum connection_kind kind, rados_t *ret,
                    struct error *err);

/* The two halves of connection_open, for a process that gives privileges away in between: the first reads the
 * file and forces the options and starts no thread; the second connects. When the second fails, the handle is
 * gone. */
int connection_prepare(const struct connection_options *opts, enum connection_kind kind, rados_t *ret,
                       struct error *err);
int connection_start(rados_t rados, const struct connection_options *opts, enum connection_kind kind,
                     struct error *err);

/* This client's address as the OSDs know it and as a blocklist entry names it: "ip:port/nonce", without
 * "v1:". -errno. */
int connection_address(rados_t rados, char *buf, size_t size, struct error *err);
