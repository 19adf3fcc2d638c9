/* SPDX-License-Identifier: MIT */
#include "device/freeze.h"

#include <errno.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "device/mountroot.h"

int freeze_begin(struct freeze *f, const char *mountpoint, const struct device_node *node, int hold_ms,
                 struct error *err)
{
    static const int deadly[] = { SIGTERM, SIGINT, SIGHUP };
    if (f->root >= 0)
        return error_set(err, -EBUSY, "it is frozen already");
    auto_close int root = mountroot_open(mountpoint, node, err);
    if (root < 0)
        return root;
    /* Ours to thaw, whoever is told to end. */
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        (void)signal(deadly[i], SIG_IGN);
    /* Outside of the freeze, in which nobody can write: gigabytes may be dirty. */
    if (syncfs(root) < 0)
        return error_set(err, -errno, "cannot write what is dirty in %s: %s", mountpoint, error_text(errno));
    if (ioctl(root, FIFREEZE, 0) < 0)
        return error_set(err, -errno, "cannot freeze %s: %s%s", mountpoint, error_text(errno),
                         errno == EBUSY ? " (somebody has frozen it: `fsfreeze -u` thaws it)" : "");
    *f = (struct freeze){ .root = steal_fd(&root), .thaw_at = clock_in_ms(hold_ms) };
    return 0;
}

/* EINVAL: it is not frozen. */
static int thaw(int root, struct error *err)
{
    return ioctl(root, FITHAW, 0) < 0 && errno != EINVAL
               ? error_set(err, -errno, "cannot thaw the file system: %s", error_text(errno))
               : 0;
}

int freeze_end(struct freeze *f, struct error *err)
{
    if (f->expired)
        return error_set(err, -ETIMEDOUT, "the file system was thawed because its time was over");
    if (f->root < 0)
        return error_set(err, -EINVAL, "nothing is frozen");
    int rc = thaw(f->root, err);
    (void)close(steal_fd(&f->root));
    return rc;
}

void freeze_expire(struct freeze *f)
{
    struct error ignored;
    if (f->root < 0)
        return;
    (void)thaw(f->root, &ignored);
    (void)close(steal_fd(&f->root));
    f->expired = true;
}

int freeze_undo(const char *mountpoint, const struct device_node *node, struct error *err)
{
    auto_close int root = mountroot_open(mountpoint, node, err);
    return root < 0 ? root : thaw(root, err);
}
