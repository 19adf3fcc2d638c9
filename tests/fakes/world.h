/* SPDX-License-Identifier: MIT */
/* The cluster and the host as the fakes have them, in memory. Tests set the scene and look at it by these.
 * Thread-safe. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/imagechange.h"
#include "ceph/imagelock.h"
#include "host/device.h"
#include "host/mapper.h"

#define FAKE_LOCKS_MAX 3
#define FAKE_POOLS_MAX 8

/* ---- the cluster (cluster.c, fences.c, image.c, imageadmin.c, imagelock.c, imagefill.c) ---- */

struct fake_pool {
    bool used;
    char name[NAME_PART_MAX + 1], ns[NAME_PART_MAX + 1];
};

struct fake_lock {
    bool held;
    char name[32];
    struct lock_holder holder;
};

struct fake_image {
    bool used;
    struct fake_pool *pool;
    char id[IMAGE_ID_LEN + 1];
    char listed[256];     /* the name in the pool's directory; "": not there */
    char objects[2][256]; /* the names whose rbd_id objects give this id */
    bool trashed;
    bool half_trashed; /* a removal that was cut off: it has a name still, or half of one */
    char was[256];     /* its name then */
    time_t moved;      /* into the trash; 0: by another program */
    uint64_t keep_s;   /* and for how long */
    uint64_t size;
    uint8_t order;
    uint64_t features;
    time_t created;
    char *spec, *making, *rolling, *growing, *danger, *hindrance;
    char data_pool[NAME_PART_MAX + 1];
    bool headerless;  /* only its names are there */
    int64_t name_age; /* seconds */
    struct fake_lock locks[FAKE_LOCKS_MAX];
    char watchers[2][80];
    bool deaf; /* its owner watches, and answers no ping */
    bool slow; /* the cluster answers no ping in time */
    bool snapshots;
    char snaps[4][SNAP_NAME_MAX + 1]; /* their names; "": none */
    bool snug;                        /* its file system is as large as it was, whatever the image is */
    enum grow_due due;                /* before it is mounted */
    bool torn;                        /* its file system needs e2fsck -y */
    unsigned logged;                  /* so many mounts until nothing is in its log */
    uint64_t written;                 /* bytes */
    struct device_probe content;      /* what libblkid would find */
};

/* An empty world: pool "rbd" without a namespace, the cluster is up, a mapper can be used. Frees what was
 * there. */
void fake_world_reset(void);

/* The world's lock, for looking at what the pointers below point to while other threads run. */
void fake_lock(void);
void fake_unlock(void);

struct fake_pool *fake_pool_add(const char *name, const char *ns);

/* An image made by `rbd create`: 1 GiB, default features, an xfs on it unless content says otherwise. */
struct fake_image *fake_image_add(struct fake_pool *pool, const char *name);

/* One made by rbdvol: with a spec. */
struct fake_image *fake_volume_add(struct fake_pool *pool, const char *name);
void fake_image_set(char **field, const char *text); /* spec, making, danger */

/* By the name that the directory has; NULL: none. */
struct fake_image *fake_image_find(const char *pool, const char *name);
size_t fake_image_count(void); /* not those in the trash */
size_t fake_trash_count(void);

/* The image's RADOS lock of this name; NULL: free. */
struct fake_lock *fake_image_lock(struct fake_image *image, const char *lock);
void fake_image_lock_set(struct fake_image *image, const char *lock, const char *cookie, const char *tag,
                         const char *address);
void fake_image_watch(struct fake_image *image, const char *address, bool watches);

enum fake_cluster { FAKE_CLUSTER_UP, FAKE_CLUSTER_DOWN };
void fake_cluster_set(enum fake_cluster state);

/* The monitors' clock from now on, by this host's. */
void fake_clustertime_ahead(time_t seconds);

/* Has this client been fenced? */
bool fake_is_fenced(const char *address);

/* What is written down as begun (ceph/pending.h), and to make it older. */
size_t fake_pending_count(void);
void fake_pending_age(time_t seconds);

/* Places that were borrowed and not given back. */
int fake_places_lent(void);

/* rbd_rename is three writes: the next ones end after so many of them (3: whole) and report this code. */
void fake_rename_stops_after(unsigned writes, int code);

/* ---- the host (mapper.c, device.c, mountinfo.c, procs.c, fs.c) ---- */

/* NULL: a mapper can be used; otherwise why none can. */
void fake_mapper_refuse(const char *why);
/* Mappings are made from now on by a mapper whose client cannot be asked, nor tells its address. */
void fake_mapper_kernel(void);
extern const struct mapper fake_kernel;
const struct mapper *fake_mapper_used(void);
/* Mappings are made from now on with a process to listen to: what fake_mapping_health says is news. */
void fake_mapper_control(void);
/* Mappings are made from now on with a process that is to be connected to first. */
void fake_mapper_unconnected(void);
/* Are alive, and cannot be looked at. */
void fake_mappings_silent(bool so);
/* The lock that a mapping takes has this tag from now on; NULL: it takes none. */
void fake_mapper_locks_as(const char *tag);
/* What the last mapping was asked for: may these do it, and with which passphrase ("": none)? */
struct fake_asked {
    bool krbd, nbd, early; /* early: by a process that was there already */
    char key_file[PATH_MAX];
};
void fake_mapper_asked(struct fake_asked *ret);
size_t fake_mapping_count(void);
/* How many processes wait for their image. */
int fake_early_count(void);
/* The mapping of the image of this name, copied. false: there is none. */
bool fake_mapping_find(const char *image, struct mapping *ret);
/* As after kill -9: the process is gone, its lock and the loop device are where they were. */
void fake_mapping_kill(const char *image);
/* What the mapping says of itself from now on. */
void fake_mapping_health(const char *image, const struct mapping_health *h);
/* From now on a mapping whose process ends has a device that waits for another. */
void fake_mapping_waits(void);
/* A mapping as an earlier daemon left it, with the managed lock. */
void fake_mapping_add(struct fake_image *image, const char *run_dir);

size_t fake_device_count(void); /* helper processes */
size_t fake_mount_count(void);
bool fake_mounted(const char *mountpoint);
void fake_mount_add(const char *mountpoint, const char *image);
bool fake_mount_drop(const char *mountpoint); /* umount by hand */
/* Somebody mounts something else over it; NULL: takes that away again. */
void fake_mount_over(const char *mountpoint, const char *what);

/* A process keeps umount from working at this mountpoint (EBUSY); NULL: none any more. */
void fake_pin(const char *who);
/* The device lives on in another mount namespace; NULL: not any more. */
void fake_mounted_elsewhere(const char *who);

void fake_process_add(pid_t pid, uint64_t start);
void fake_process_end(pid_t pid);

/* ---- for the fakes ---- */

extern struct fake_pool fake_pools[FAKE_POOLS_MAX]; /* the world's lock guards it */
struct fake_pool *fake_pool_find(const char *name, const char *ns);
struct fake_pool *fake_pool_of(const struct place *p);
/* One after the other, used or not; NULL: there are no more. */
struct fake_image *fake_image_at(size_t i);
/* With the lock held: by id; NULL: there is none. */
struct fake_image *fake_image_by_id(const struct place *p, const char *id);
struct fake_image *fake_image_any_pool(const struct image_name *name);
/* With the lock held. */
int fake_image_change(struct fake_image *image, const struct image_change *change, struct error *err);
/* With the lock held: the image behind a mapping's file; NULL: none. minor: its loop device's. */
struct fake_image *fake_mapping_image(const char *file, unsigned *minor);
/* With the lock held: the image behind a loop device; NULL: none. */
struct fake_image *fake_minor_image(unsigned minor);
/* With the lock held: its loop device, also when its process is dead. */
bool fake_mapping_minor(const char *file, unsigned *minor);
/* With the lock held: the file that a loop device is on, also when its process is dead. */
bool fake_minor_file(unsigned minor, char *file, size_t size);
/* With the lock held. */
bool fake_minor_in_use(unsigned minor);
unsigned fake_minor_of_image(const char *image);
void fake_fences_reset(void);
void fake_pending_reset(void);
void fake_watches_end(const char *address);
void fake_mounts_reset(void);
void fake_devices_reset(void);
void fake_mappings_reset(void);
void fake_processes_reset(void);
/* With the lock held. */
bool fake_minor_mounted(unsigned minor);
bool fake_minor_attached(unsigned minor);
bool fake_minor_elsewhere(unsigned minor);
const char *fake_pinned_by(void);
int fake_mount_set(const char *mountpoint, unsigned minor, const char *image);
/* 1: was mounted (name filled), 0: was not. */
int fake_mount_take(const char *mountpoint, char name[static NAME_PART_MAX + 1]);
