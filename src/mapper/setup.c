/* SPDX-License-Identifier: MIT */
#include "mapper/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define FIRST_UNKNOWN_FD 5 /* 0 to 2, /dev/fuse, the control socket; then nothing is ours */
#define KEYRING_MAX      65536

static int write_once(const char *path, const char *text)
{
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

void setup_process(char *warning, size_t size)
{
    static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE };
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)setsid(); /* fails where the spawner did it */
    (void)umask(077);
    (void)close_range(FIRST_UNKNOWN_FD, ~0u, 0);
    /* The keys of the cluster are in our memory. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    /* The kernel's write-back waits for us: we must not wait for it when we allocate memory. Inherited by all
     * threads. */
    int flusher = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0 ? -errno : 0;
    int oom = write_once("/proc/self/oom_score_adj", "-1000");
    *warning = '\0';
    if (chdir("/") < 0) /* or we keep a file system busy */
        (void)snprintf(warning, size, "cannot change to /: %s", error_text(errno));
    if (flusher < 0 || oom < 0)
        (void)snprintf(
            warning, size, "under memory pressure this mapper can %s%s%s: %s (it needs CAP_SYS_RESOURCE)",
            flusher < 0 ? "deadlock with the kernel's write-back" : "", flusher < 0 && oom < 0 ? " and " : "",
            oom < 0 ? "be killed" : "", error_text(flusher < 0 ? flusher : oom));
}

/* The first of a list of paths that can be read. */
static int keyring_read(char *paths, char **text, size_t *len, char *from, size_t size)
{
    struct error ignored;
    for (char *save, *path = strtok_r(paths, ", ;", &save); path; path = strtok_r(NULL, ", ;", &save))
        if (file_read(path, KEYRING_MAX, text, len, &ignored) == 0) {
            (void)snprintf(from, size, "%s", path);
            return 0;
        }
    return -ENOENT;
}

int setup_keyring(rados_t rados, int *ret, char *from, size_t size, struct error *err)
{
    char paths[4096], path[64], *text = NULL;
    size_t len = 0;
    *ret = -1;
    *from = '\0';
    if (rados_conf_get(rados, "keyring", paths, sizeof paths) < 0 ||
        keyring_read(paths, &text, &len, from, size) < 0)
        return 0;
    auto_close int fd = memfd_create("keyring", MFD_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, len);
    int rc = n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
    explicit_bzero(text, len);
    free(text);
    if (rc == 0) {
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        rc = rados_conf_set(rados, "keyring", path);
    }
    if (rc < 0)
        return error_set(err, rc, "cannot keep the keyring in memory: %s", error_text(rc));
    *ret = steal_fd(&fd);
    return 0;
}

int setup_fuse_ends_first(int fuse)
{
    /* A process that ends closes its descriptors in their order, but the kernel finishes that (task work)
     * only after it has left the namespace, and the last one first. A descriptor of the namespace keeps it
     * until then; below that of /dev/fuse it goes after it. */
    auto_close int ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    int above = ns < 0 ? -1 : fcntl(fuse, F_DUPFD_CLOEXEC, fuse + 1);
    if (above < 0)
        return fuse;
    if (dup3(ns, fuse, O_CLOEXEC) >= 0)
        return above;
    (void)close(above);
    return fuse;
}

int setup_drop(struct error *err)
{
    for (cap_value_t c = 0; c < cap_max_bits(); c++)
        (void)cap_drop_bound(c);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    cap_t none = cap_init();
    int rc = !none || cap_set_proc(none) < 0 ? -errno : 0;
    (void)cap_free(none);
    return rc < 0 ? error_set(err, rc, "cannot drop capabilities: %s", error_text(rc)) : 0;
}

/* Segments that cannot be written hold exactly what is in the file: what is needed again comes back from
 * there. */
static int trim_segments(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t begin = (info->dlpi_addr + p->p_vaddr) & ~(page - 1),
                  end = info->dlpi_addr + p->p_vaddr + p->p_memsz;
        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
            (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* the vDSO refuses */
    }
    return 0;
}

void setup_trim(void)
{
    /* Half of a mapper's memory is code of the Ceph libraries that ran once. */
    (void)dl_iterate_phdr(trim_segments, NULL);
    (void)malloc_trim(0);
}
