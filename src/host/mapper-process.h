/* SPDX-License-Identifier: MIT */
/* The processes of rbdvol-mapper. Starting one and connecting take most of the time that a mapping takes, so
 * it can be started before its image is known: early, while the image is looked at, or as the spare one,
 * which is connected, too. Such a process ends with the daemon. */
#pragma once

#include <sys/types.h>

#include "host/mapper.h"

#define MAPPER_PROCESS_PROGRAM "rbdvol-mapper"
#define MAPPER_PROCESS_ARGV0                                                                                 \
    "@" MAPPER_PROCESS_PROGRAM /* "@": systemd lets it live when it kills what is left at shutdown */

/* Starts one for a mapping, with its two descriptors (/dev/fuse, the listening socket). key_file: of the
 * passphrase of an encrypted image; NULL: it is not encrypted. 0: *ret is its pid, the caller's to reap. */
int mapper_process_start(const struct mapper_host *host, const struct mapping *m, const char *key_file,
                         const int fds[static 2], pid_t *ret, struct error *err);

/* The same with the spare one (which can no longer read a key file), or else with the early one (NULL: there
 * is none), which is then gone from *early. 1: it was the spare one; 0: the early one; -ENODEV: neither is
 * there, alive and with the present configuration. */
int mapper_process_take(const struct mapper_host *host, struct mapper_early *early, const struct mapping *m,
                        const char *key_file, const int fds[static 2], pid_t *ret);

/* Starts one for an image that is going to be known soon, unless the spare one would be taken. It links its
 * libraries and reads its configuration, and does not connect before it has the image. */
void mapper_process_start_early(const struct mapper_host *host, struct mapper_early *ret);
void mapper_process_drop_early(struct mapper_early *early);

/* Starts a spare one where the host wants one, unless there is one that is fit, or the last one ended so soon
 * that another would, too. Never waits for Ceph. */
void mapper_process_prepare(const struct mapper_host *host);
