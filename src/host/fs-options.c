/* SPDX-License-Identifier: MIT */
/* Which mkfs and mount options a volume may carry. They come from users, and from image metadata that other
 * clients of the cluster can write: so no word here names a path or a device, and nothing turns off what we
 * force. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "host/fs.h"

#define WORD_MAX_LEN 63

/* A flag of mkfs and the values it takes: patterns, blanks between them. In a pattern '#' stands for a
 * number, '@' for a size (a number with k, m, g or t, or without), '?' for 0 or 1, '%' for a label; all else
 * for itself. */
struct flag {
    const char *flag;
    const char *values;
};

static const struct flag ext4_flags[] = {
    { "-m", "#" },
    { "-i", "#" },
    { "-I", "#" },
    { "-N", "#" },
    { "-G", "#" },
    { "-L", "%" },
    { "-J", "size=#" },
    { "-T", "news largefile largefile4 big huge" },
    { "-O",
      "64bit ^64bit bigalloc casefold dir_index ^dir_index dir_nlink ^dir_nlink ea_inode encrypt ext_attr "
      "extra_isize fast_commit flex_bg ^flex_bg huge_file ^huge_file inline_data large_dir large_file "
      "metadata_csum ^metadata_csum metadata_csum_seed orphan_file project quota resize_inode ^resize_inode "
      "sparse_super sparse_super2 stable_inodes verity" },
    { NULL, NULL },
};

static const struct flag xfs_flags[] = {
    { "-m", "crc=? finobt=? reflink=? rmapbt=? inobtcount=? bigtime=?" },
    { "-i", "size=# maxpct=# sparse=? nrext64=?" },
    { "-n", "size=@" },
    { "-l", "size=@ su=@" },
    { "-d", "agcount=# agsize=@ su=@ sw=#" },
    { "-L", "%" },
    { NULL, NULL },
};

static const struct flag btrfs_flags[] = {
    { "-m", "single dup" },
    { "-d", "single dup" },
    { "-n", "@" },
    { "-L", "%" },
    { "-O", "extref ^extref skinny-metadata ^skinny-metadata no-holes ^no-holes" },
    { "-R", "quota free-space-tree ^free-space-tree" },
    { "--csum", "crc32c xxhash sha256 blake2" },
    { NULL, NULL },
};

/* What a file system that is not in the table may have: nothing. */
static const struct flag no_flags[] = { { NULL, NULL } };

static const char any_mount[] =
    "ro rw noatime relatime strictatime nodiratime lazytime nolazytime nodev nosuid noexec dev suid exec "
    "discard nodiscard sync async dirsync";

static const struct {
    const char *fs;
    const struct flag *flags;
    const char *mount;
} allowed[] = {
    { "ext4", ext4_flags,
      "data=ordered data=journal commit=# barrier nobarrier barrier=? errors=remount-ro errors=continue "
      "journal_checksum journal_async_commit delalloc nodelalloc auto_da_alloc noauto_da_alloc "
      "dioread_lock dioread_nolock noload acl noacl user_xattr init_itable=# noinit_itable stripe=# "
      "max_batch_time=# min_batch_time=# usrquota grpquota prjquota quota noquota" },
    { "xfs", xfs_flags,
      "inode64 inode32 allocsize=@ logbufs=# logbsize=@ largeio nolargeio swalloc noalign wsync attr2 "
      "filestreams nouuid norecovery uquota usrquota gquota grpquota pquota prjquota noquota" },
    { "btrfs", btrfs_flags,
      "compress compress=no compress=zstd compress=zlib compress=lzo compress=zstd:# compress=zlib:# "
      "compress-force=zstd compress-force=zlib compress-force=lzo compress-force=zstd:# "
      "ssd nossd ssd_spread autodefrag noautodefrag space_cache=v2 commit=# nodatacow datacow nodatasum "
      "datasum discard=async discard=sync flushoncommit noflushoncommit max_inline=@ metadata_ratio=# "
      "thread_pool=# acl noacl barrier nobarrier" },
};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* How much of the word the placeholder takes: 0 when it is none of its kind. */
static size_t placeholder(char kind, const char *word, size_t len)
{
    size_t n = 0;
    if (kind == '?')
        return len && (word[0] == '0' || word[0] == '1');
    if (kind == '%') { /* a leading dash would be taken for a flag; 12 is what xfs takes */
        while (n < len && (digit(word[n]) || letter(word[n]) || (n && strchr("_.-", word[n]))))
            n++;
        return n <= 12 ? n : 0;
    }
    while (n < len && digit(word[n]))
        n++;
    if (n > 15)
        return 0;
    if (kind == '@' && n && n < len && strchr("kmgtKMGT", word[n]))
        n++;
    return n;
}

static bool matches(const char *pattern, size_t plen, const char *word, size_t len)
{
    for (size_t i = 0; i < plen; i++) {
        size_t n =
            strchr("#@?%", pattern[i]) ? placeholder(pattern[i], word, len) : len && word[0] == pattern[i];
        if (n == 0)
            return false;
        word += n;
        len -= n;
    }
    return len == 0;
}

static bool in_list(const char *patterns, const char *word, size_t len)
{
    for (const char *p = patterns; *p; p += strspn(p, " ")) {
        size_t plen = strcspn(p, " ");
        if (matches(p, plen, word, len))
            return true;
        p += plen;
    }
    return false;
}

/* Patterns as people read them. */
static const char *explain(const char *patterns, char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = '\0';
    for (const char *p = patterns; *p && n + 8 < size; p++) {
        const char *text = *p == '#'   ? "N"
                           : *p == '@' ? "SIZE"
                           : *p == '?' ? "0|1"
                           : *p == '%' ? "LABEL"
                                       : NULL;
        n += (size_t)(text ? snprintf(buf + n, size - n, "%s", text) : snprintf(buf + n, size - n, "%c", *p));
    }
    return buf;
}

/* The next word of "a+b+c". False: the end. Empty words come back as such, and are refused by who looks for
 * them. */
static bool next_word(const char **at, const char **word, size_t *len)
{
    if (!*at)
        return false;
    *word = *at;
    *len = strcspn(*at, "+");
    *at = (*word)[*len] ? *word + *len + 1 : NULL;
    return true;
}

static const char *flag_names(const struct flag *flags, char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = '\0';
    for (const struct flag *f = flags; f->flag && n + 8 < size; f++)
        n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? " " : "", f->flag);
    return buf;
}

int fs_check_mkfs_options(const struct fs *fs, const char *options, struct error *err)
{
    char list[400];
    const struct flag *flags = no_flags;
    const char *at = *options ? options : NULL, *word, *value;
    size_t len, vlen;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (strcmp(allowed[i].fs, fs->name) == 0)
            flags = allowed[i].flags;
    while (next_word(&at, &word, &len)) {
        const struct flag *f = flags;
        while (f->flag && !(strlen(f->flag) == len && strncmp(f->flag, word, len) == 0))
            f++;
        if (!f->flag)
            return error_set(
                err, -EINVAL,
                "mkfs option '%.*s' is not allowed for %s: write flags and values joined by '+', like "
                "-L+data; the flags are %s",
                (int)(len < WORD_MAX_LEN ? len : WORD_MAX_LEN), word, fs->name,
                flag_names(flags, list, sizeof list));
        if (!next_word(&at, &value, &vlen))
            return error_set(err, -EINVAL, "mkfs option '%s' for %s lacks its value: one of %s", f->flag,
                             fs->name, explain(f->values, list, sizeof list));
        if (!in_list(f->values, value, vlen))
            return error_set(err, -EINVAL,
                             "mkfs option '%s %.*s' is not allowed for %s: write %s with one of %s", f->flag,
                             (int)(vlen < WORD_MAX_LEN ? vlen : WORD_MAX_LEN), value, fs->name, f->flag,
                             explain(f->values, list, sizeof list));
    }
    return 0;
}

int fs_check_mount_options(const struct fs *fs, const char *options, struct error *err)
{
    char any[400], own[600];
    const char *mount = "", *at = *options ? options : NULL, *word;
    size_t len;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (strcmp(allowed[i].fs, fs->name) == 0)
            mount = allowed[i].mount;
    while (next_word(&at, &word, &len))
        if (!in_list(any_mount, word, len) && !in_list(mount, word, len))
            return error_set(
                err, -EINVAL,
                "mount option '%.*s' is not allowed for %s: write words joined by '+', of these: %s, %s",
                (int)(len < WORD_MAX_LEN ? len : WORD_MAX_LEN), word, fs->name,
                explain(mount, own, sizeof own), explain(any_mount, any, sizeof any));
    return 0;
}
