/* SPDX-License-Identifier: MIT */
/* Preloaded into rbdvol and its helpers: counts the calls that change the world, and kills at one of them.
 *
 * A point is a role (whose call), a function, the how-manieth call of it by that role, and entry or exit.
 * Only calls made by the program itself, by libmount and by libmicrohttpd count: what librados does below is
 * reached by random kills. All is in one shared file, which `points.py` lays out in the same way. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SHIM_ENV     "CRASH_SHIM_FILE" /* the shared file */
#define SHIM_PRELOAD "CRASH_SHIM_SELF" /* the path of this library, for the helpers */
#define SHIM_ROLES   3                 /* daemon, mapper, device */
#define SHIM_PIDS    64
#define SHIM_NAME    40
#define SHIM_FUNCS   96
#define SHIM_RECORDS 16384

enum shim_mode { SHIM_OFF, SHIM_COUNT, SHIM_KILL };

struct shim_record {
    uint8_t role, func, is_exit, alive; /* alive: a bit for each role that has a process */
    uint32_t n;
};

struct shim {
    _Atomic uint32_t mode;
    uint32_t role, func, n, is_exit; /* the point at which to kill */
    uint32_t victims;                /* a bit for each role */
    _Atomic uint32_t fired;
    _Atomic uint32_t hit;    /* a bit for each role that had a process to kill */
    _Atomic uint32_t struck; /* all who were there have been killed */
    _Atomic uint32_t records_n;
    _Atomic uint32_t pids_n[SHIM_ROLES];
    _Atomic int32_t pids[SHIM_ROLES][SHIM_PIDS];
    _Atomic uint32_t starts[SHIM_ROLES][SHIM_PIDS]; /* in clock ticks since boot: a pid is soon another's */
    _Atomic uint32_t counts[SHIM_ROLES][SHIM_FUNCS];
    char names[SHIM_FUNCS][SHIM_NAME];
    struct shim_record records[SHIM_RECORDS];
};

/* One call of the function number `func`. Returns its number among these, from 1 on; 0 when it does not
 * count. */
uint32_t shim_enter(unsigned func, const void *caller);
/* Keeps errno. */
void shim_leave(unsigned func, uint32_t n);
void *shim_real(const char *name);

extern struct shim *shim;
extern const char *const shim_names[];
extern const unsigned shim_names_n;
