/* SPDX-License-Identifier: MIT */
#include "main/privileges.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/capability.h>

#include "base/log.h"

static const struct {
    cap_value_t cap;
    const char *lost; /* what does not work without it */
} kept[] = {
    { CAP_SYS_ADMIN, "nothing can be mounted" },
    { CAP_CHOWN, "the owner of a volume's root cannot be set" },
    { CAP_FOWNER, "the mode of a volume's root cannot be set" },
    /* without it chmod 2770 succeeds and the mode is 0770 */
    { CAP_FSETID, "the setgid bit of a volume's root cannot be set" },
    { CAP_DAC_OVERRIDE, "the first mount cannot tidy a volume's root" },
    { CAP_DAC_READ_SEARCH, "a keyring of another user cannot be read" },
    { CAP_SYS_RESOURCE,
      "ext4 does not grow while mounted, and mappers are not protected from a write-back deadlock" },
    { CAP_LINUX_IMMUTABLE, "empty mount points are not protected from writes" },
    { CAP_SYS_PTRACE, "who keeps a volume busy cannot be named" },
    /* mkfs runs as nobody */
    { CAP_SETUID, "mkfs cannot be run unprivileged" },
    { CAP_SETGID, "mkfs cannot be run unprivileged" },
    { CAP_SETPCAP, "mkfs cannot be run without capabilities" },
    { CAP_KILL, "an unprivileged mkfs that hangs cannot be stopped" },
};

#define NKEPT (sizeof kept / sizeof *kept)

/* Can we have it? A container's manager may have taken it from us. */
static bool granted(cap_t now, cap_value_t cap)
{
    cap_flag_value_t permitted = CAP_CLEAR;
    return cap_get_flag(now, cap, CAP_PERMITTED, &permitted) == 0 && permitted == CAP_SET &&
           cap_get_bound(cap) == 1;
}

static int set_all(cap_t now, struct error *err)
{
    cap_value_t have[NKEPT];
    int n = 0;
    for (size_t i = 0; i < NKEPT; i++) {
        if (granted(now, kept[i].cap)) {
            have[n++] = kept[i].cap;
            continue;
        }
        char *name = cap_to_name(kept[i].cap);
        log_notice("this host does not grant us %s: %s", name ? name : "a capability", kept[i].lost);
        (void)cap_free(name);
    }
    /* The bounding set first: dropping from it needs CAP_SETPCAP. Without it, a root child would get
     * everything back. */
    for (cap_value_t cap = 0; cap < cap_max_bits(); cap++) {
        bool keep = false;
        for (int i = 0; i < n && !keep; i++)
            keep = have[i] == cap;
        if (!keep && cap_get_bound(cap) == 1 && cap_drop_bound(cap) < 0)
            return error_set(err, -errno, "cannot drop capability %d from the bounding set: %s", (int)cap,
                             error_text(errno));
    }
    (void)cap_reset_ambient();
    if (cap_clear(now) < 0 || cap_set_flag(now, CAP_PERMITTED, n, have, CAP_SET) < 0 ||
        cap_set_flag(now, CAP_EFFECTIVE, n, have, CAP_SET) < 0 || cap_set_proc(now) < 0)
        return error_set(err, -errno, "cannot drop capabilities: %s", error_text(errno));
    return 0;
}

int privileges_drop(struct error *err)
{
    cap_t now = cap_get_proc();
    if (!now)
        return error_set(err, -errno, "cannot read our capabilities: %s", error_text(errno));
    int rc = set_all(now, err);
    (void)cap_free(now);
    return rc;
}
