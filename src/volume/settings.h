/* SPDX-License-Identifier: MIT */
/* What the operator chose: the values of the option table (main/options.c), as the program uses them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/imagename.h"
#include "base/log.h"

#define POOLS_MAX 16

enum remove_policy { REMOVE_TRASH, REMOVE_DELETE, REMOVE_RENAME, REMOVE_IGNORE };
enum sharing { SHARING_EXCLUSIVE, SHARING_HOST };
enum legacy_images { LEGACY_UPGRADE, LEGACY_REFUSE };
enum takeover { TAKEOVER_DEAD, TAKEOVER_SILENT, TAKEOVER_NEVER };
enum stuck_action { STUCK_REPORT, STUCK_ERROR };

/* Strings belong to the settings and live as long as the program. Durations are in milliseconds, sizes in
 * bytes. */
struct settings {
    char *name; /* the instance: names the socket, the state and the mappers' argv */
    char *socket;
    uint32_t socket_mode;
    char *socket_group;
    char *ceph_conf;
    char *cluster;
    char *user; /* without "client." */
    char pools[POOLS_MAX][NAME_PART_MAX + 1];
    unsigned npools; /* at least 1 */
    char *ns;        /* "" is the default namespace */
    char *mount_root;
    char *state_dir;
    uint64_t max_size; /* 0: no limit */
    char *scratch_dir;
    char *key_dir;
    char *mapper; /* "auto", "krbd", "nbd", "fuse" */
    char *map_options;
    bool spare_mapper;
    bool create;
    uint64_t size;
    uint64_t size_unit; /* 0: not set; else 1 MiB or 1 GiB */
    char *fstype;
    char *mkfs_options; /* "" : the file system's own defaults of host/fs.c */
    char *mount_options;
    uint32_t uid, gid, mode;
    enum remove_policy remove;
    int64_t trash_keep_ms;      /* of named volumes */
    int64_t trash_keep_anon_ms; /* of 64-hex names, when trash-keep is not set */
    enum sharing sharing;
    enum legacy_images legacy_images;
    enum takeover takeover;
    int64_t silence_ms;
    int64_t ceph_timeout_ms;
    int64_t budget_ms;
    int64_t io_stuck_ms;
    enum stuck_action io_stuck_action;
    char *metrics_listen; /* "" : off */
    enum log_level log_level;
};
