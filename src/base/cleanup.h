/* SPDX-License-Identifier: MIT */
/* Scope destructors: what is declared with one of these is released when its block ends. */
#pragma once

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Spelled with underscores: jansson's json_auto_t uses the plain word inside its header. */
#define CLEANUP(f) __attribute__((__cleanup__(f)))
#define auto_free  CLEANUP(cleanup_free)
#define auto_close CLEANUP(cleanup_close)
#define auto_file  CLEANUP(cleanup_file)
#define auto_dir   CLEANUP(cleanup_dir)

/* Holds the mutex until the end of the block. */
#define LOCK_SCOPE(m) LOCK_SCOPE_(m, CLEANUP_CAT(scope_lock_, __COUNTER__))
#define LOCK_SCOPE_(m, var)                                                                                  \
    CLEANUP(cleanup_unlock) pthread_mutex_t *var = (m);                                                      \
    pthread_mutex_lock(var)
#define CLEANUP_CAT(a, b)  CLEANUP_CAT_(a, b)
#define CLEANUP_CAT_(a, b) a##b

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void cleanup_file(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}

static inline void cleanup_dir(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

static inline void cleanup_unlock(pthread_mutex_t **m)
{
    pthread_mutex_unlock(*m);
}

/* Gives away what an auto_ variable holds: `return steal_ptr(&p)`, `*ret = steal_fd(&fd)`. */
#define steal_ptr(p)                                                                                         \
    __extension__({                                                                                          \
        __typeof__(*(p)) stolen_ = *(p);                                                                     \
        *(p) = NULL;                                                                                         \
        stolen_;                                                                                             \
    })

static inline int steal_fd(int *fd)
{
    int was = *fd;
    *fd = -1;
    return was;
}
