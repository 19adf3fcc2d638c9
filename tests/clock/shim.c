/* SPDX-License-Identifier: MIT */
/* Preloaded into the daemon and its helpers: their wall clock is off by the seconds that the file
 * CLOCK_SHIM_FILE says just now. Who waits until a time of that clock waits until the kernel's. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

#define WALL_S 1000000000 /* no other clock has come so far */
#define WORDS  64

static const volatile int64_t *offset;

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("CLOCK_SHIM_FILE");
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        abort();
    offset = at;
}

static int64_t off(void)
{
    return offset ? *offset : 0;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(id, t);
    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        t->tv_sec += off();
    return rc;
}

time_t time(time_t *ret)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (ret)
        *ret = t.tv_sec;
    return t.tv_sec;
}

int gettimeofday(struct timeval *ret, void *zone)
{
    struct timespec t;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    *ret = (struct timeval){ .tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000 };
    return 0;
}

static struct timespec kernels(const struct timespec *t)
{
    struct timespec real = *t;
    if (real.tv_sec > WALL_S)
        real.tv_sec -= off();
    return real;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlsym(
            RTLD_NEXT, "pthread_cond_timedwait");
    struct timespec t = kernels(until);
    return real(cond, mutex, &t);
}

int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    if (!real)
        real = (int (*)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *))dlsym(
            RTLD_NEXT, "pthread_cond_clockwait");
    struct timespec t = kernels(until);
    return real(cond, mutex, clock, &t);
}

/* The helpers are started with an environment of their own. */
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attr, char *const *argv, char *const *env)
{
    static int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                       char *const *, char *const *);
    char preload[4200], file[4200], *more[WORDS + 3];
    size_t n = 0;
    if (!real)
        real = (int (*)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                        char *const *, char *const *))dlsym(RTLD_NEXT, "posix_spawn");
    if (!strstr(path, "/rbdvol-mapper"))
        return real(pid, path, actions, attr, argv, env);
    while (env[n] && n < WORDS) {
        more[n] = env[n];
        n++;
    }
    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
    (void)snprintf(file, sizeof file, "CLOCK_SHIM_FILE=%s", getenv("CLOCK_SHIM_FILE"));
    more[n++] = preload;
    more[n++] = file;
    more[n] = NULL;
    return real(pid, path, actions, attr, argv, more);
}
