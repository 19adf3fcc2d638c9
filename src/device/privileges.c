/* SPDX-License-Identifier: MIT */
#include "device/privileges.h"

#include <stddef.h>
#include <sys/capability.h>
#include <sys/prctl.h>

/* Which, and for what. */
static const cap_value_t needed[] = {
    CAP_SYS_ADMIN,       /* mount, umount */
    CAP_CHOWN,           /* the mount root's owner */
    CAP_FOWNER,          /* its mode, when it belongs to another user by then */
    CAP_FSETID,          /* its setgid bit: without it chmod(2) drops it and says nothing */
    CAP_DAC_OVERRIDE,    /* lost+found in a root of another user */
    CAP_LINUX_IMMUTABLE, /* of the empty mountpoint */
    CAP_SETUID,          /* mkfs runs as nobody */
    CAP_SETGID,          CAP_SETPCAP, CAP_KILL, /* and is killed at its deadline */
    CAP_SYS_RESOURCE,                           /* ext4 that grows while mounted */
    CAP_SYSLOG,                                 /* the kernel's words on a failed mount */
};

static int keeps(cap_value_t cap)
{
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (needed[i] == cap)
            return 1;
    return 0;
}

void privileges_drop(void)
{
    /* No core dumps, no /proc/PID/mem for others. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    cap_t has = cap_get_proc(), keep = cap_init();
    for (cap_value_t c = 0; has && keep && c < cap_max_bits(); c++) {
        cap_flag_value_t permitted = CAP_CLEAR;
        (void)cap_get_flag(has, c, CAP_PERMITTED, &permitted);
        if (!keeps(c)) {
            (void)cap_drop_bound(c);
        } else if (permitted == CAP_SET) {
            (void)cap_set_flag(keep, CAP_PERMITTED, 1, &c, CAP_SET);
            (void)cap_set_flag(keep, CAP_EFFECTIVE, 1, &c, CAP_SET);
        }
    }
    (void)cap_reset_ambient();
    if (keep)
        (void)cap_set_proc(keep);
    (void)cap_free(keep);
    (void)cap_free(has);
}
