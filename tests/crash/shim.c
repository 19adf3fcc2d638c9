/* SPDX-License-Identifier: MIT */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RANGES_MAX 16
#define DEATH_MS   3000

struct shim *shim;
static unsigned role;
static struct {
    uintptr_t from, to;
} ranges[RANGES_MAX];
static unsigned nranges;

void *shim_real(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f) {
        (void)fprintf(stderr, "crash shim: there is no %s\n", name);
        abort();
    }
    return f;
}

/* The program itself comes first, and has no name. */
static int note_range(struct dl_phdr_info *info, size_t size, void *arg)
{
    bool *first = arg;
    (void)size;
    bool counts =
        *first || strstr(info->dlpi_name, "/libmount.so") || strstr(info->dlpi_name, "/libmicrohttpd.so");
    *first = false;
    for (unsigned i = 0; counts && i < info->dlpi_phnum && nranges < RANGES_MAX; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        ranges[nranges].from = info->dlpi_addr + p->p_vaddr;
        ranges[nranges++].to = info->dlpi_addr + p->p_vaddr + p->p_memsz;
    }
    return 0;
}

static bool is_ours(const void *caller)
{
    for (unsigned i = 0; i < nranges; i++)
        if ((uintptr_t)caller >= ranges[i].from && (uintptr_t)caller < ranges[i].to)
            return true;
    return false;
}

static int role_of(const char *program)
{
    static const char *const programs[SHIM_ROLES] = { "rbdvol", "rbdvol-mapper", "rbdvol-device" };
    const char *slash = strrchr(program, '/');
    for (int i = 0; i < SHIM_ROLES; i++)
        if (strcmp(slash ? slash + 1 : program, programs[i]) == 0)
            return i;
    return -1;
}

/* When this process began, in clock ticks since the boot; 0: it has ended. */
static uint32_t start_of(int32_t pid)
{
    char path[64], text[1024];
    unsigned long long start = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)syscall(SYS_close, fd);
    text[n < 0 ? 0 : n] = '\0';
    const char *at = strrchr(text, ')');
    if (!at || !at[1] || at[2] == 'Z' || at[2] == 'X')
        return 0;
    for (unsigned field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at && sscanf(at, "%llu", &start) == 1 ? (uint32_t)start : 0;
}

__attribute__((constructor)) static void begin(void)
{
    char self[4096] = "";
    bool first = true;
    const char *path = getenv(SHIM_ENV);
    int is = readlink("/proc/self/exe", self, sizeof self - 1) > 0 ? role_of(self) : -1;
    (void)unsetenv("LD_PRELOAD"); /* what they run is none of our business; posix_spawn below adds it */
    if (!path || is < 0)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shim, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    if (at == MAP_FAILED)
        return;
    role = (unsigned)is;
    (void)dl_iterate_phdr(note_range, &first);
    struct shim *s = at;
    for (unsigned i = 0; i < shim_names_n; i++)
        (void)snprintf(s->names[i], SHIM_NAME, "%s", shim_names[i]);
    uint32_t slot = atomic_fetch_add(&s->pids_n[role], 1);
    atomic_store(&s->starts[role][slot % SHIM_PIDS], start_of(getpid()));
    atomic_store(&s->pids[role][slot % SHIM_PIDS], getpid());
    shim = s;
}

/* The pid in this slot, when it still is who entered it; otherwise 0. */
static int32_t living(unsigned r, unsigned slot)
{
    int32_t pid = atomic_load(&shim->pids[r][slot]);
    return pid > 0 && start_of(pid) == atomic_load(&shim->starts[r][slot]) ? pid : 0;
}

static unsigned alive(void)
{
    unsigned found = 1u << role;
    for (unsigned r = 0; r < SHIM_ROLES; r++)
        for (unsigned i = 0; i < SHIM_PIDS && !(found & 1u << r); i++)
            if (living(r, i))
                found |= 1u << r;
    return found;
}

static void end_role(unsigned r)
{
    int fds[SHIM_PIDS];
    unsigned n = 0;
    for (unsigned i = 0; i < SHIM_PIDS; i++) {
        int32_t pid = living(r, i);
        if (pid == 0 || pid == getpid())
            continue;
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (kill(pid, SIGKILL) == 0) {
            (void)atomic_fetch_or(&shim->hit, 1u << r);
            if (fd >= 0)
                fds[n++] = fd;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        struct pollfd p = { .fd = fds[i], .events = POLLIN };
        (void)poll(&p, 1, DEATH_MS);
        (void)syscall(SYS_close, fds[i]);
    }
}

/* The others first: they shall not see us end. */
static void strike(void)
{
    for (unsigned r = 0; r < SHIM_ROLES; r++)
        if (shim->victims & 1u << r)
            end_role(r);
    bool ours = shim->victims & 1u << role;
    if (ours)
        (void)atomic_fetch_or(&shim->hit, 1u << role);
    atomic_store(&shim->struck, 1);
    if (!ours)
        return;
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

static void pass(unsigned func, uint32_t n, bool is_exit)
{
    uint32_t mode = atomic_load(&shim->mode);
    if (mode == SHIM_COUNT) {
        uint32_t at = atomic_fetch_add(&shim->records_n, 1);
        if (at < SHIM_RECORDS)
            shim->records[at] =
                (struct shim_record){ (uint8_t)role, (uint8_t)func, is_exit, (uint8_t)alive(), n };
    } else if (mode == SHIM_KILL && shim->role == role && shim->func == func && shim->n == n &&
               shim->is_exit == (uint32_t)is_exit && atomic_exchange(&shim->fired, 1) == 0) {
        strike();
    }
}

uint32_t shim_enter(unsigned func, const void *caller)
{
    if (!shim || atomic_load(&shim->mode) == SHIM_OFF || !is_ours(caller))
        return 0;
    int saved = errno;
    uint32_t n = atomic_fetch_add(&shim->counts[role][func], 1) + 1;
    pass(func, n, false);
    errno = saved;
    return n;
}

void shim_leave(unsigned func, uint32_t n)
{
    int saved = errno;
    if (n)
        pass(func, n, true);
    errno = saved;
}
