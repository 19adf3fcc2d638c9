/* SPDX-License-Identifier: MIT */
#include "host/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "base/text.h"
#include "host/ext4.h"

#define MIB (1024ULL * 1024)

#define EXT4_LAZY   "nodiscard,lazy_itable_init=1,lazy_journal_init=1"
#define EXT4_ZEROED "assume_storage_prezeroed"

/* The least sizes are what the programs of Debian 12 accept (xfsprogs 6.1, btrfs-progs 6.2); mkfs.ext4 takes
 * less than 9 MiB, but makes no journal then. */
static const struct fs table[] = {
    {
        .name = "xfs",
        .min_size = 300 * MIB,
        .mkfs = "mkfs.xfs",
        .mkfs_args = (const char *const[]){ "-q", "-K", "-f", "-s", "size=4096", NULL },
        .mount_options = "",
    },
    {
        .name = "ext4",
        .min_size = 9 * MIB,
        .checked = true,
        .mkfs = "mkfs.ext4",
        .mkfs_args = (const char *const[]){ "-F", "-q", "-m", "0", "-b", "4096", "-E", EXT4_LAZY, NULL },
        /* the last -E counts; without it the kernel zeroes 2 MiB of each 128, from the first Mount on */
        .zeroed_args = (const char *const[]){ "-E", EXT4_LAZY "," EXT4_ZEROED "=1", NULL },
        .zeroed_word = EXT4_ZEROED,
        .mount_options = "errors=remount-ro",
    },
    {
        .name = "btrfs",
        .min_size = 109 * MIB,
        .mkfs = "mkfs.btrfs",
        .blind = true,
        .mkfs_args = (const char *const[]){ "-q", "-K", "-f", "-s", "4096", NULL },
        .mount_options = "",
    },
};

const struct fs *fs_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const char *fs_names(void)
{
    return "ext4, xfs, btrfs";
}

int fs_check_size(const struct fs *fs, uint64_t size, struct error *err)
{
    char least[32], asked[32];
    if (size >= fs->min_size)
        return 0;
    const char *way_out = strcmp(fs->name, "ext4") == 0 ? "" : ", or ask for fstype=ext4";
    return error_set(err, -EINVAL, "%s is too small for %s: make the volume %s or larger%s",
                     text_size(size, asked), fs->name, text_size(fs->min_size, least), way_out);
}

/* e2fsck(8): 1 is "corrected", 2 "corrected, reboot" (of a mounted root, which this is not), 4 "left
 * uncorrected". */
#define E2FSCK_FINE        3
#define E2FSCK_UNCORRECTED 4

/* Mounted still, in another mount namespace: what is alive needs no check, and would refuse it. */
static bool is_mounted(const char *device)
{
    auto_close int fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
    return fd < 0 && errno == EBUSY;
}

/* What cannot be read or is no ext4, e2fsck explains. */
static bool is_clean(const char *device)
{
    struct ext4_super super;
    struct error ignored;
    auto_close int fd = open(device, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && ext4_read(fd, device, &super, &ignored) == 0 && super.clean;
}

int fs_check(const struct fs *fs, const char *device, enum fs_care care, moment deadline, struct error *err)
{
    if (!fs->checked)
        return 0;
    if (is_mounted(device))
        return 1;
    if (care == FS_USUAL && is_clean(device))
        return 0;
    const char *const usual[] = { "e2fsck", "-p", device, NULL };
    const char *const whole[] = { "e2fsck", "-f", care == FS_MEND ? "-y" : "-p", device, NULL };
    const struct command cmd = { .argv = care == FS_USUAL ? usual : whole,
                                 .keep_fd = -1,
                                 .deadline = deadline };
    struct command_output out;
    int rc = command_run(&cmd, &out, err);
    if (rc == -ENOENT)
        return error_set(err, -EOPNOTSUPP, "cannot check %s: e2fsck is not installed (package e2fsprogs)",
                         device);
    if (rc < 0)
        return error_prefix(err, "cannot check %s", device);
    if ((rc & ~E2FSCK_FINE) == 0)
        return 0;
    if (rc & E2FSCK_UNCORRECTED)
        return error_set(
            err, -EUCLEAN,
            "the file system has errors that need a person: map the image by hand (rbd map) and run "
            "'fsck.ext4 -f DEVICE'; e2fsck said: %.300s",
            out.text);
    return error_set(err, -EIO, "cannot check %s: e2fsck failed (%d): %.300s", device, rc, out.text);
}
