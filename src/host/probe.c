/* SPDX-License-Identifier: MIT */
#include "host/probe.h"

#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "host/fs.h"

#define SECTOR_SMALL 512
#define SECTOR_LARGE 4096

/* blkid_do_safeprobe(3) */
#define BLKID_FOUND      0
#define BLKID_NOTHING    1
#define BLKID_AMBIVALENT (-2)

static void probe_free(blkid_probe *p)
{
    if (*p)
        blkid_free_probe(*p);
}

/* The values belong to the probe: they are copied before it goes. */
static void value(blkid_probe p, const char *name, char *buf, size_t size)
{
    const char *text;
    buf[0] = '\0';
    if (blkid_probe_lookup_value(p, name, &text, NULL) == 0)
        (void)snprintf(buf, size, "%s", text);
}

/* The superblock's smallest unit: xfs' sector, ext4's block. A loop device with larger blocks cannot mount
 * it; one with smaller ones can, so what is not known gets 512. */
static uint32_t block_size_of(blkid_probe p)
{
    char text[16];
    uint32_t n;
    value(p, "BLOCK_SIZE", text, sizeof text);
    return text_parse_u32(text, UINT32_MAX, &n) == 0 && n >= SECTOR_LARGE ? SECTOR_LARGE : SECTOR_SMALL;
}

static void judge(blkid_probe p, struct device_probe *ret)
{
    char type[20], table[20], bad[8];
    value(p, "TYPE", type, sizeof type);
    value(p, "PTTYPE", table, sizeof table);
    value(p, "SBBADCSUM", bad, sizeof bad);
    value(p, "UUID", ret->uuid, sizeof ret->uuid);
    if (type[0] && table[0]) {
        ret->found = PROBE_AMBIGUOUS;
    } else if (type[0] && !bad[0] && fs_find(type)) {
        ret->found = PROBE_FS;
        ret->block_size = block_size_of(p);
        (void)snprintf(ret->type, sizeof ret->type, "%s", type);
    } else {
        ret->found = PROBE_OTHER;
        (void)snprintf(ret->type, sizeof ret->type, "%s%s",
                       type[0]    ? type
                       : table[0] ? table
                                  : "unknown",
                       bad[0] ? " (damaged)" : "");
    }
}

/* Where libblkid 2.38 looks, some fifty times, one after the other: the head, the end, a few places between.
 */
static const struct {
    off_t from; /* below 0: from the end */
    off_t length;
} looks[] = {
    { 0, 516 << 10 },  { 1 << 20, 4096 },  { 2 << 20, 4096 },
    { 4 << 20, 4096 }, { -1580544, 4096 }, { -(512 << 10), 512 << 10 },
};

#define STEP (128 << 10) /* of a file on FUSE the kernel reads no more ahead at a time (mm/readahead.c) */

/* All of it at once. */
static void read_ahead(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        off_t from = looks[i].from < 0 ? size + looks[i].from : looks[i].from, end = from + looks[i].length;
        for (off_t at = from; from >= 0 && at < end && at < size; at += STEP)
            (void)posix_fadvise(fd, at, end - at < STEP ? end - at : STEP, POSIX_FADV_WILLNEED);
    }
}

int probe_fd(int fd, struct device_probe *ret, struct error *err)
{
    CLEANUP(probe_free) blkid_probe p = blkid_new_probe();
    if (!p)
        return error_set(err, -ENOMEM, "cannot look what is on the image: out of memory");
    read_ahead(fd);
    errno = 0;
    if (blkid_probe_set_device(p, fd, 0, 0) != 0)
        return error_set(err, errno ? -errno : -EIO, "cannot look what is on the image: %s",
                         error_text(errno ? errno : EIO));
    blkid_probe_enable_superblocks(p, 1);
    blkid_probe_set_superblocks_flags(p, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_UUID | BLKID_SUBLKS_USAGE |
                                             BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_BADCSUM);
    blkid_probe_enable_partitions(p, 1);
    errno = 0;
    int rc = blkid_do_safeprobe(p);
    struct device_probe found = { .block_size = SECTOR_LARGE };
    if (rc == BLKID_FOUND)
        judge(p, &found);
    else if (rc == BLKID_NOTHING)
        found.found = PROBE_EMPTY;
    else if (rc == BLKID_AMBIVALENT)
        found.found = PROBE_AMBIGUOUS;
    else
        return error_set(err, errno ? -errno : -EIO, "cannot read the image to see what is on it: %s",
                         error_text(errno ? errno : EIO));
    *ret = found;
    return 0;
}
