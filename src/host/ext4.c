/* SPDX-License-Identifier: MIT */
#include "host/ext4.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SUPER       1024
#define MAGIC       0xEF53
#define SLACK       64 /* blocks of a group that are neither inodes nor reserved for growth */
#define GROUP_DESCS 32 /* bytes, at least */

/* Where it says what. */
#define AT_BLOCKS         0x04
#define AT_BLOCK_SHIFT    0x18
#define AT_GROUP_BLOCKS   0x20
#define AT_GROUP_INODES   0x28
#define AT_MOUNTS_MAX     0x36 /* a check is due after so many; 0 and below: never */
#define AT_MAGIC          0x38
#define AT_STATE          0x3A
#define AT_CHECK_INTERVAL 0x44
#define AT_INODE_SIZE     0x58
#define AT_COMPAT         0x5C
#define AT_INCOMPAT       0x60
#define AT_RO_COMPAT      0x64
#define AT_GROWTH_BLOCKS  0xCE /* reserved for group descriptors */
#define AT_ORPHANS        0xE8 /* the first of the inodes that were deleted while they were open */
#define AT_DESC_SIZE      0xFE
#define AT_BLOCKS_HIGH    0x150
#define AT_ERRORS         0x194 /* how many the kernel has seen */

#define COMPAT_SPARSE2        0x200
#define INCOMPAT_RECOVER      0x4
#define INCOMPAT_META_BG      0x10
#define INCOMPAT_64BIT        0x80
#define INCOMPAT_MMP          0x100 /* e2fsck waits to see whether another host has it; the kernel gives up */
#define RO_COMPAT_BIGALLOC    0x200
#define RO_COMPAT_ORPHAN_FILE 0x10000 /* and there is something in it */

#define STATE_CLEAN 1 /* with none of the others: errors, orphans */

static uint32_t le32_at(const unsigned char *p, size_t offset)
{
    uint32_t n;
    memcpy(&n, p + offset, sizeof n);
    return le32toh(n);
}

static uint16_t le16_at(const unsigned char *p, size_t offset)
{
    uint16_t n;
    memcpy(&n, p + offset, sizeof n);
    return le16toh(n);
}

static uint64_t desc_size(const unsigned char *s)
{
    const bool wide = le32_at(s, AT_INCOMPAT) & INCOMPAT_64BIT;
    return wide && le16_at(s, AT_DESC_SIZE) ? le16_at(s, AT_DESC_SIZE) : GROUP_DESCS;
}

static uint64_t block_size(const unsigned char *s)
{
    return 1024ULL << le32_at(s, AT_BLOCK_SHIFT);
}

/* Does it say of itself what can be counted with? */
static bool is_ext4(const unsigned char *s)
{
    return le16_at(s, AT_MAGIC) == MAGIC && le32_at(s, AT_BLOCK_SHIFT) <= 6 && desc_size(s) <= block_size(s);
}

/* The group descriptors have room in their own blocks, and in those that mkfs reserved for them. */
static uint64_t reach(const unsigned char *s, uint64_t groups)
{
    const uint64_t in_block = block_size(s) / desc_size(s);
    if (le32_at(s, AT_INCOMPAT) & INCOMPAT_META_BG)
        return UINT64_MAX;
    return ((groups + in_block - 1) / in_block + le16_at(s, AT_GROWTH_BLOCKS)) * in_block *
           le32_at(s, AT_GROUP_BLOCKS);
}

static bool clean(const unsigned char *s)
{
    return le16_at(s, AT_STATE) == STATE_CLEAN &&
           !(le32_at(s, AT_INCOMPAT) & (INCOMPAT_RECOVER | INCOMPAT_MMP)) &&
           !(le32_at(s, AT_RO_COMPAT) & RO_COMPAT_ORPHAN_FILE) && le32_at(s, AT_ORPHANS) == 0 &&
           le32_at(s, AT_ERRORS) == 0 && (int16_t)le16_at(s, AT_MOUNTS_MAX) <= 0 &&
           le32_at(s, AT_CHECK_INTERVAL) == 0;
}

int ext4_read(int fd, const char *device, struct ext4_super *ret, struct error *err)
{
    unsigned char s[1024];
    ssize_t n = pread(fd, s, sizeof s, SUPER);
    if (n != (ssize_t)sizeof s || !is_ext4(s))
        return error_set(err, n < 0 ? -errno : -EUCLEAN, "cannot read the superblock on %s: %s", device,
                         n < 0 ? error_text(errno) : "it is none of ext4");
    struct ext4_super e = { .blocks = le32_at(s, AT_BLOCKS), .block_size = block_size(s) };
    if (le32_at(s, AT_INCOMPAT) & INCOMPAT_64BIT)
        e.blocks |= (uint64_t)le32_at(s, AT_BLOCKS_HIGH) << 32;
    uint64_t inodes = (uint64_t)le32_at(s, AT_GROUP_INODES) * le16_at(s, AT_INODE_SIZE) / e.block_size;
    uint64_t groups = e.blocks / (le32_at(s, AT_GROUP_BLOCKS) ? le32_at(s, AT_GROUP_BLOCKS) : 1) + 1;
    e.reach = reach(s, groups);
    e.online = !(le32_at(s, AT_COMPAT) & COMPAT_SPARSE2) && !(le32_at(s, AT_RO_COMPAT) & RO_COMPAT_BIGALLOC);
    e.slack = inodes + le16_at(s, AT_GROWTH_BLOCKS) + groups * GROUP_DESCS / e.block_size + SLACK;
    e.clean = clean(s);
    *ret = e;
    return 0;
}
