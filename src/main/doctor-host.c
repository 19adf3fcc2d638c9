/* SPDX-License-Identifier: MIT */
/* The kernel, its tools and this host's directories. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "base/identity.h"
#include "host/fs.h"
#include "host/mapper.h"
#include "main/doctor.h"
#include "main/sandbox.h"
#include "volume/mapping.h"

#define SYSTEMCTL_MS 5000

static void check_identity(struct findings *f)
{
    struct identity id;
    struct error err;
    if (geteuid() != 0)
        findings_add(f, FINDING_PROBLEM, "root", "run it as root", "rbdvol runs as uid %u and cannot mount",
                     (unsigned)geteuid());
    if (identity_read(&id, &err) < 0)
        findings_add(f, FINDING_PROBLEM, "identity", "mount /proc", "%s", err.msg);
    else if (access("/etc/machine-id", R_OK) < 0)
        findings_add(f, FINDING_WARNING, "identity", "run systemd-machine-id-setup",
                     "there is no /etc/machine-id: after a reboot this host has to wait for its own volumes");
    else
        findings_add(f, FINDING_OK, "identity", "", "host %s, machine id %s", id.host, id.machine_id);
}

static void check_mapper(const struct settings *s, struct findings *f)
{
    const struct mapper *chosen;
    char why[256] = "";
    struct error err;
    if (mapping_choose_any(s, &chosen, why, sizeof why, &err) == 0)
        findings_add(f, FINDING_OK, "mapper", "", "%s (%s)", chosen->name, why);
    else
        findings_add(
            f, FINDING_PROBLEM, "mapper",
            "load a module ('modprobe rbd', or 'modprobe fuse loop'), or choose with the option mapper", "%s",
            err.msg);
}

static void check_file_systems(const struct settings *s, struct findings *f)
{
    static const char *const all[] = { "xfs", "ext4", "btrfs" };
    char path[PATH_MAX], missing[64] = "";
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const struct fs *fs = fs_find(all[i]);
        if (!fs || command_find(fs->mkfs, path, sizeof path) == 0)
            continue;
        if (strcmp(all[i], s->fstype) == 0)
            findings_add(f, FINDING_PROBLEM, "file systems",
                         "install xfsprogs, e2fsprogs or btrfs-progs, or set the option fstype",
                         "%s is not installed, and new volumes are to be %s", fs->mkfs, s->fstype);
        else
            (void)snprintf(missing + strlen(missing), sizeof missing - strlen(missing), " %s", fs->mkfs);
    }
    findings_add(f, FINDING_OK, "file systems", "", "new volumes are %s%s%s", s->fstype,
                 *missing ? "; not installed:" : "", missing);
}

/* The nearest part of a path that exists. */
static void existing(const char *path, char *buf)
{
    struct stat st;
    (void)snprintf(buf, PATH_MAX, "%s", path);
    while (stat(buf, &st) < 0) {
        char *slash = strrchr(buf, '/');
        if (!slash || slash == buf) {
            (void)snprintf(buf, PATH_MAX, "/");
            return;
        }
        *slash = '\0';
    }
}

static void check_scratch(const struct settings *s, struct findings *f)
{
    char dir[PATH_MAX];
    existing(s->scratch_dir, dir);
    auto_close int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        findings_add(f, FINDING_PROBLEM, "scratch-dir",
                     "name a directory on ext4, xfs or tmpfs with scratch-dir",
                     "%s takes no nameless file: %s", dir, error_text(errno));
    else if (ftruncate(fd, (off_t)s->size) < 0)
        findings_add(f, FINDING_PROBLEM, "scratch-dir",
                     "name a directory on another file system with scratch-dir",
                     "%s takes no sparse file of the size of a new volume: %s", dir, error_text(errno));
    else if (fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 65536) < 0)
        findings_add(f, FINDING_WARNING, "scratch-dir", "name a directory on ext4 or xfs with scratch-dir",
                     "%s cannot zero ranges, so that mkfs writes its whole log: Create is slower", dir);
    else
        findings_add(f, FINDING_OK, "scratch-dir", "", "%s", dir);
}

static void check_mount_root(const struct settings *s, struct findings *f)
{
    struct error err;
    struct stat st;
    if (stat(s->mount_root, &st) < 0)
        findings_add(f, FINDING_OK, "mount-root", "", "%s is made when the daemon starts", s->mount_root);
    else if (sandbox_check_visible(s, &err) < 0)
        findings_add(f, FINDING_PROBLEM, "mount-root", "", "%s", err.msg);
    else
        findings_add(f, FINDING_OK, "mount-root", "", "%s", s->mount_root);
}

static void check_privileges(struct findings *f)
{
    cap_flag_value_t has = CAP_CLEAR;
    cap_t caps = cap_get_proc();
    if (caps && cap_get_flag(caps, CAP_SYS_RESOURCE, CAP_PERMITTED, &has) == 0 && has == CAP_SET)
        findings_add(f, FINDING_OK, "privileges", "", "CAP_SYS_RESOURCE is there");
    else
        findings_add(
            f, FINDING_WARNING, "privileges", "grant CAP_SYS_RESOURCE to the service",
            "without CAP_SYS_RESOURCE ext4 does not grow while mounted, and user-space mappers are not "
            "protected from a write-back deadlock under memory pressure");
    if (caps)
        (void)cap_free(caps);
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (; *words; words += strspn(words, "+,")) {
        size_t n = strcspn(words, "+,");
        if (n >= len && strncmp(words, word, len) == 0 && (n == len || words[len] == '='))
            return true;
        words += n;
    }
    return false;
}

/* What a volume's files do not use any more stays in the cluster until somebody says so. */
static void check_trim(const struct settings *s, struct findings *f)
{
    char unit[NAME_PART_MAX + 32], mend[2 * sizeof unit + 96];
    struct command_output out;
    struct error err;
    bool plain = strcmp(s->name, "rbd") == 0;
    (void)snprintf(unit, sizeof unit, "rbdvol-trim%s%s.timer", plain ? "" : "@", plain ? "" : s->name);
    const char *const argv[] = { "systemctl", "is-active", "--quiet", unit, NULL };
    const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = clock_in_ms(SYSTEMCTL_MS) };
    (void)snprintf(mend, sizeof mend,
                   "systemctl enable --now %s; without systemd run `rbdvol trim --all%s%s` now and then",
                   unit, plain ? "" : " --name=", plain ? "" : s->name);
    if (has_word(s->mount_options, "discard"))
        findings_add(f, FINDING_OK, "trim", "", "volumes are mounted with discard");
    else if (command_run(&cmd, &out, &err) == 0)
        findings_add(f, FINDING_OK, "trim", "", "%s gives back what volumes do not use", unit);
    else
        findings_add(f, FINDING_WARNING, "trim", mend,
                     "nothing gives space back to the cluster when files are deleted: %s is not active",
                     unit);
}

void doctor_host(const struct settings *s, struct findings *f)
{
    check_identity(f);
    check_privileges(f);
    check_mapper(s, f);
    check_file_systems(s, f);
    check_scratch(s, f);
    check_mount_root(s, f);
    check_trim(s, f);
}
