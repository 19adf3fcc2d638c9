/* SPDX-License-Identifier: MIT */
#include "device/nobody.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "host/mountinfo.h"

#define NOBODY    65534
#define NOT_FOUND 127
#define NOT_RUN   126

/* What a program needs to start. */
static bool needed(const char *mountpoint)
{
    static const char *const trees[] = { "/usr",  "/lib", "/lib32", "/lib64", "/bin",
                                         "/sbin", "/etc", "/proc",  "/dev" };
    if (strcmp(mountpoint, "/") == 0)
        return true;
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        size_t len = strlen(trees[i]);
        if (strncmp(mountpoint, trees[i], len) == 0 && (mountpoint[len] == '\0' || mountpoint[len] == '/'))
            return true;
    }
    return false;
}

static bool detach(void *arg, const struct mount_entry *e)
{
    (void)arg;
    if (!needed(e->mountpoint)) /* one below another that is gone already fails, which is fine */
        (void)umount2(e->mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW);
    return false;
}

/* A mount namespace of its own, which ends with it, without the volumes: it neither sees them nor, if it
 * takes long, keeps them from being unmounted (hence slave: what is unmounted outside goes here, too). */
static bool hide_mounts(void)
{
    struct error ignored;
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 &&
           mountinfo_each("self", detach, NULL, &ignored) == 0;
}

static bool become_nobody(void)
{
    for (cap_value_t c = 0; c < cap_max_bits(); c++)
        if (cap_get_bound(c) == CAP_SET && cap_drop_bound(c) < 0)
            return false;
    (void)cap_reset_ambient();
    /* With the last of the three user ids the capabilities go, too. */
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && setgroups(0, NULL) == 0 &&
           setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0;
}

int nobody_exec(char *const *argv)
{
    const char *step = "hide the mounts from it";
    if (hide_mounts()) {
        step = "become nobody";
        if (become_nobody()) {
            step = "start it";
            (void)execvp(argv[0], argv);
        }
    }
    int code = errno;
    (void)fprintf(stderr, "cannot run %s: cannot %s: %s\n", argv[0], step, strerror(code));
    return code == ENOENT && strcmp(step, "start it") == 0 ? NOT_FOUND : NOT_RUN;
}
