/* SPDX-License-Identifier: MIT */
/* The steps on a block device, each of which can hang in the kernel for as long as the storage does. They run
 * in a process of their own (rbdvol-device) that holds the device open from the first step to the last
 * (device numbers are re-used), and that is left behind when a deadline passes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"

struct device; /* one helper process */

/* A helper: one that is idle, or else a new one. */
int device_start(struct device **ret, struct error *err);

/* Gives it back: it lets go of the device (a loop device that is not mounted frees itself then). One is kept,
 * idle, for the next who needs one; others end. One that hangs is killed, and reaped in the background. NULL
 * is fine. */
void device_end(struct device *d);

enum probe_found {
    PROBE_EMPTY,     /* libblkid finds nothing at all */
    PROBE_FS,        /* exactly one file system, and one that we mount */
    PROBE_OTHER,     /* LUKS, LVM, a partition table, a file system that we do not know */
    PROBE_AMBIGUOUS, /* signatures of more than one thing */
};

struct device_probe {
    enum probe_found found;
    char type[32]; /* libblkid's TYPE or PTTYPE; "" when empty or ambiguous */
    char uuid[40];
    uint32_t block_size; /* the logical block size that the loop device must have: 512 or 4096 */
};

/* What is on the image? Reads it through the mapping's file (or device). */
int device_probe(struct device *d, const char *file, moment deadline, struct device_probe *ret,
                 struct error *err);

/* Begins what device_probe of the same file, which must be the next request, waits for. That it could not
 * be begun, device_probe says. */
void device_probe_ahead(struct device *d, const char *file, moment deadline);

/* Formats the image through the mapping's file: mkfs into a scratch file (host/fs.h), then its extents are
 * written, the first block last. */
int device_format(struct device *d, const char *file, const char *fstype, const char *mkfs_options,
                  const char *scratch_dir, moment deadline, struct error *err);

struct device_node {
    char path[32]; /* "/dev/loop3" */
    unsigned major, minor;
};

/* Puts a loop device on the file (direct I/O, autoclear, this logical block size) and keeps it open; checks
 * with LOOP_GET_STATUS64 that it is this file's. A block device is opened as it is; whose it is, the mapper's
 * verify() tells. A loop device that is on the file already is found and used again. first: nobody has had
 * the file open before, so that none is looked for, which takes the longer the more there are. */
int device_attach(struct device *d, const char *file, uint32_t block_size, bool ro, moment deadline,
                  struct device_node *ret, struct error *err);
int device_attach_first(struct device *d, const char *file, uint32_t block_size, bool ro, moment deadline,
                        struct device_node *ret, struct error *err);

/* Finds the loop device that is on the file, without making one: 1 found, 0 none. */
int device_find(struct device *d, const char *file, moment deadline, struct device_node *ret,
                struct error *err);

/* Does a file system have to grow before it is mounted? */
enum grow_due {
    GROW_NOT_DUE, /* it may be smaller, but grows once it is mounted: safely, by its journal */
    GROW_DUE,     /* an ext4 that is smaller, and that the kernel does not grow once it is mounted: it wants
                     CAP_SYS_RESOURCE for that, and not every feature */
    GROW_TOO_FAR, /* the same, but its tables would have to be moved, and nothing mends that when it is cut
                     off */
    GROW_NEVER,   /* an ext4 that fills its device */
};

/* Checks the attached device before mounting: e2fsck -p for an ext4 that is not clean, nothing for xfs and
 * btrfs (mounting replays their logs). mend: mends all that is wrong, since an earlier device_enlarge was cut
 * off. -EUCLEAN: errors are left; the message has fsck's words and the command to run by hand. */
int device_check(struct device *d, const char *fstype, bool mend, moment deadline, enum grow_due *due,
                 struct error *err);

/* What device_check found due, right after it. Cut off in the middle, it leaves what only `mend` mends. */
int device_enlarge(struct device *d, moment deadline, struct error *err);

/* Gives the file system on the attached device a uuid of its own. *renewed: false when that cannot be done
 * yet. */
int device_renew(struct device *d, const char *fstype, moment deadline, bool *renewed, struct error *err);

struct device_mount {
    const char *mountpoint; /* made (and immutable while nothing is mounted on it) when it is not there */
    const char *fstype;
    const char *options; /* comma-separated mount(8) words, without _netdev, which is added */
    const char *volume;  /* full name: goes to libmount's utab as x-rbdvol.volume= */
};

/* Mounts the attached device through libmount and verifies in mountinfo that this device is there. A mount of
 * this very device at the mountpoint already is success; anything else there is -EEXIST, and stays. */
int device_mount(struct device *d, const struct device_mount *m, moment deadline, struct error *err);

/* The first-mount steps on the mounted root: remove lost+found (it would stop Docker's copy-up and MySQL),
 * set uid, gid and mode, read them back. Idempotent. */
int device_fresh(struct device *d, const char *mountpoint, uint32_t uid, uint32_t gid, uint32_t mode,
                 moment deadline, struct error *err);

/* Grows the mounted file system to the size of its device, and that, when it is a loop device on the file, to
 * the file's. *grown: it was smaller. -EPERM: the kernel does not let this one grow while it is mounted; then
 * it is due before the next mount. */
int device_grow(struct device *d, const char *file, const struct device_node *node, const char *fstype,
                const char *mountpoint, moment deadline, bool *grown, struct error *err);

/* Tells the device of the mounted file system which blocks are free in these bytes of it; *trimmed: how many
 * bytes. -EOPNOTSUPP: the device does not want to know. -ERANGE: the file system ends before. */
int device_trim(struct device *d, const char *mountpoint, const struct device_node *node, uint64_t from,
                uint64_t length, moment deadline, uint64_t *trimmed, struct error *err);

/* Freezes the mounted file system for hold_ms at most: the helper thaws it then, and soon after the daemon is
 * gone. What is dirty is written first, outside of it. On failure the caller calls device_unfreeze: a freeze
 * that hangs in the kernel may come to its end later. */
int device_freeze(struct device *d, const char *mountpoint, const struct device_node *node, int hold_ms,
                  moment deadline, struct error *err);

/* Thaws it. -ETIMEDOUT: it had been thawed before, since hold_ms were over. */
int device_thaw(struct device *d, moment deadline, struct error *err);

/* Thaws what a helper has left frozen; one that is not frozen is fine. */
int device_unfreeze(struct device *d, const char *mountpoint, const struct device_node *node, moment deadline,
                    struct error *err);

/* Unmounts this device from the mountpoint. Not mounted there is success, whatever else is. -EBUSY: a process
 * of this mount namespace uses it; the caller asks procs_pinning() who. lazily: then it is detached, and goes
 * when that process lets go of it. -EEXIST: something else was mounted over it, and stays. -ENOTDIR: it is
 * mounted somewhere, but a link or a file is in the way to the mountpoint. */
int device_umount(struct device *d, const char *mountpoint, const struct device_node *node, bool lazily,
                  moment deadline, struct error *err);

/* The argv of a process, as /proc/PID/cmdline has it: each word ends in a NUL. The caller frees. It is read
 * through that process' memory, and hangs when the process hangs in a page fault. */
int device_argv(struct device *d, pid_t pid, moment deadline, char **ret, size_t *len, struct error *err);

/* What a helper's argv says of it: rbdvol-device WHAT MAPPING. */
#define DEVICE_IDLE   "idle" /* nobody has it */
#define DEVICE_BUSY   "busy"
#define DEVICE_KRBD   "krbd" /* it writes to the kernel's rbd driver, for MAPPING */
#define DEVICE_NOBODY "----------------"

struct device_key {
    const char *name; /* NULL: there is none */
    const unsigned char *bytes;
    size_t len;
};

/* Writes text to a file of the kernel's rbd driver (host/krbd.h), with the key in the helper's own keyring
 * for as long. *status: 0, the write's errno, or KRBD_EXIT_KEY. -ETIMEDOUT: the helper was killed, and may
 * still be in the kernel; its argv names the mapping until it is not. */
int device_krbd(struct device *d, const char *mapping, const char *file, const char *text,
                const struct device_key *key, moment deadline, int *status, struct error *err);
