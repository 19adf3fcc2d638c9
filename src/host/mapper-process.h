/* SPDX-License-Identifier: MIT */
/* The processes of rbdvol-mapper, and the spare one: it is connected to the cluster, and has no image yet.
 * Starting one and connecting take most of the time that a mapping takes. A spare one ends with the daemon.
 */
#pragma once

#include <sys/types.h>

#include "host/mapper.h"

#define MAPPER_PROCESS_PROGRAM "rbdvol-mapper"
#define MAPPER_PROCESS_ARGV0                                                                                 \
    "@" MAPPER_PROCESS_PROGRAM /* "@": systemd lets it live when it kills what is left at shutdown */

/* Starts one for a mapping, with its two descriptors (/dev/fuse, the listening socket). key_file: of the
 * passphrase of an encrypted image, which a spare one cannot read any more; NULL: it is not encrypted. 0:
 * *ret is its pid, the caller's to reap. */
int mapper_process_start(const struct mapper_host *host, const struct mapping *m, const char *key_file,
                         const int fds[static 2], pid_t *ret, struct error *err);

/* The same with the spare one. -ENODEV: there is none that is fit. */
int mapper_process_take(const struct mapper_host *host, const struct mapping *m, const int fds[static 2],
                        pid_t *ret);

/* Starts a spare one where the host wants one, unless there is one that is fit, or the last one ended so soon
 * that another would, too. Never waits for Ceph. */
void mapper_process_prepare(const struct mapper_host *host);
