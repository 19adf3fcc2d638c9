/* SPDX-License-Identifier: MIT */
#include "host/renew.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"

#define BTRFS_LOG_ROOT (65536 + 96) /* in the first superblock; 0: there is no log */

/* Exit status, and what it said. */
static int run(const char *const *argv, moment deadline, struct command_output *out, struct error *err)
{
    const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = deadline };
    int rc = command_run(&cmd, out, err);
    return rc == -ENOENT ? error_set(err, -EOPNOTSUPP, "%s is not installed", argv[0]) : rc;
}

static int failed(const char *program, const struct command_output *out, struct error *err)
{
    return error_set(err, -EIO, "cannot give the clone a uuid of its own: %s said: %.300s", program,
                     out->text);
}

/* What xfs_admin -U does, which is a shell script. It says what it did, and ends well when it refuses. */
static int renew_xfs(const char *device, moment deadline, bool *renewed, struct error *err)
{
    const char *const argv[] = { "xfs_db", "-x", "-p", "xfs_admin", "-c", "uuid generate", device, NULL };
    struct command_output out;
    int rc = run(argv, deadline, &out, err);
    if (rc < 0)
        return rc;
    *renewed = rc == 0 && strstr(out.text, "new UUID") != NULL;
    /* an unclean log: its mount replays it */
    return *renewed || strstr(out.text, "log") ? 0 : failed("xfs_db", &out, err);
}

/* The checksums of all metadata contain the uuid: tune2fs wants it checked as a whole. */
static int renew_ext4(const char *device, moment deadline, bool *renewed, struct error *err)
{
    const char *const check[] = { "e2fsck", "-f", "-p", device, NULL };
    const char *const tune[] = { "tune2fs", "-U", "random", device, NULL };
    struct command_output out;
    int rc = run(check, deadline, &out, err);
    if (rc > 3)
        return failed(check[0], &out, err);
    if (rc >= 0)
        rc = run(tune, deadline, &out, err);
    if (rc > 0)
        return failed(tune[0], &out, err);
    *renewed = rc == 0;
    return rc;
}

/* Has it a log to be replayed? btrfstune changes the superblock, after which the log belongs to nothing, and
 * the file system can be mounted no more (seen). */
static int btrfs_has_log(const char *device, struct error *err)
{
    uint64_t log_root;
    auto_close int fd = open(device, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, &log_root, sizeof log_root, BTRFS_LOG_ROOT);
    if (n != (ssize_t)sizeof log_root)
        return error_set(err, -EIO, "cannot read the superblock on %s: %s", device, error_text(errno));
    return log_root != 0;
}

/* -m: a field of the superblock, instead of a new id in every block. */
static int renew_btrfs(const char *device, moment deadline, bool *renewed, struct error *err)
{
    const char *const argv[] = { "btrfstune", "-f", "-m", device, NULL };
    struct command_output out;
    int rc = btrfs_has_log(device, err);
    if (rc != 0)
        return rc < 0 ? rc : 0; /* its mount replays it */
    rc = run(argv, deadline, &out, err);
    if (rc > 0)
        return failed(argv[0], &out, err);
    *renewed = rc == 0;
    return rc;
}

int renew_uuid(const struct fs *fs, const char *device, moment deadline, bool *renewed, struct error *err)
{
    *renewed = false;
    if (strcmp(fs->name, "xfs") == 0)
        return renew_xfs(device, deadline, renewed, err);
    if (strcmp(fs->name, "ext4") == 0)
        return renew_ext4(device, deadline, renewed, err);
    return renew_btrfs(device, deadline, renewed, err);
}
