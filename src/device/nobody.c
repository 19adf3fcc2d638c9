/* SPDX-License-Identifier: MIT */
#include "device/nobody.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NOBODY    65534
#define NOT_FOUND 127
#define NOT_RUN   126

/* In a mount namespace of its own, which ends with it. */
static int hide_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("/dev/null", "/proc/self/mounts", NULL, MS_BIND, NULL) == 0;
}

static int become_nobody(void)
{
    for (cap_value_t c = 0; c < cap_max_bits(); c++)
        if (cap_get_bound(c) == CAP_SET && cap_drop_bound(c) < 0)
            return 0;
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
