/* SPDX-License-Identifier: MIT */
/* The calls that change the world. */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <rados/librados.h>
#include <rbd/librbd.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim.h"

/* as in src/host/grow.c, where it is said what they are */
struct xfs_growth {
    uint64_t new_blocks;
    uint32_t imax_percent;
};
#define EXT4_GROW     _IOW('f', 16, uint64_t)
#define XFS_GROW_DATA _IOW('X', 110, struct xfs_growth)

#define FUSE_DEVICE makedev(10, 229)

/* clang-format off */
#define CALLS(X) \
    X(mount) X(umount) X(umount2) X(ioctl) X(close) X(open) X(open64) X(openat) X(openat64) X(__open_2) \
    X(__open64_2) X(__openat_2) X(mkostemp64) X(write) X(pwrite64) X(rename) X(unlink) X(unlinkat) X(mkdir) \
    X(mkdirat) X(chmod) X(fchmod) X(fchmodat) X(chown) X(fchown) X(ftruncate64) X(link) X(posix_spawn) X(kill) \
    X(connect) X(bind) X(send) X(sendmsg) X(accept4) \
    X(rados_connect) X(rados_shutdown) X(rados_write_op_operate) X(rados_aio_write_op_operate) X(rados_lock_exclusive) X(rados_lock_shared) \
    X(rados_unlock) X(rados_break_lock) X(rados_exec) X(rados_remove) X(rados_blocklist_add) X(rados_notify2) \
    X(rados_write_full) X(rados_watch3) X(rados_unwatch2) X(rados_mon_command) \
    X(rbd_create4) X(rbd_clone3) X(rbd_open) X(rbd_open_read_only) X(rbd_open_by_id) X(rbd_close) \
    X(rbd_lock_acquire) X(rbd_lock_release) X(rbd_lock_break) X(rbd_trash_move) X(rbd_trash_remove) \
    X(rbd_trash_restore) X(rbd_flush) X(rbd_aio_flush) X(rbd_aio_write) X(rbd_aio_write_zeroes) X(rbd_update_watch) \
    X(rbd_update_unwatch) X(rbd_update_features) X(rbd_resize2) X(rbd_flatten) X(rbd_snap_create2) \
    X(rbd_snap_remove2) X(rbd_snap_rollback) X(rbd_snap_protect) X(rbd_snap_unprotect) X(rbd_metadata_set) \
    X(rbd_snap_create) X(rbd_snap_remove) X(rbd_metadata_remove) X(rbd_rename) X(rbd_remove)

#define NUMBER(name) CALL_##name,
#define TEXT(name) #name,
enum { CALLS(NUMBER) CALL_COUNT };
const char *const shim_names[] = { CALLS(TEXT) };
const unsigned shim_names_n = CALL_COUNT;
_Static_assert(CALL_COUNT <= SHIM_FUNCS, "more calls than fit");

#define REAL(ret, name, params) \
    static ret (*volatile real) params; \
    if (!real) \
        real = (ret (*) params)shim_real(#name)

#define WRAP_IF(ret, name, params, args, counts) \
    ret name params \
    { \
        REAL(ret, name, params); \
        uint32_t n = (counts) ? shim_enter(CALL_##name, __builtin_return_address(0)) : 0; \
        ret result = real args; \
        shim_leave(CALL_##name, n); \
        return result; \
    }
#define WRAP(ret, name, params, args) WRAP_IF(ret, name, params, args, true)
/* clang-format on */

static bool changes(int flags)
{
    return (flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

/* Not the log, not a wake-up: a file. */
static bool is_file(int fd)
{
    struct stat st;
    return fd > STDERR_FILENO && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* Whose last close is seen elsewhere: a device that clears itself, a FUSE connection, somebody's peer. */
static bool is_seen(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISSOCK(st.st_mode) ||
                                   (S_ISCHR(st.st_mode) && st.st_rdev == FUSE_DEVICE));
}

static bool is_change(unsigned long request)
{
    return request == LOOP_CONFIGURE || request == LOOP_CTL_GET_FREE || request == LOOP_CLR_FD ||
           request == LOOP_SET_CAPACITY || request == LOOP_SET_STATUS64 || request == LOOP_SET_FD ||
           request == FS_IOC_SETFLAGS || request == FIFREEZE || request == FITHAW || request == FITRIM ||
           request == EXT4_GROW || request == XFS_GROW_DATA;
}

WRAP(int, mount, (const char *a, const char *b, const char *c, unsigned long d, const void *e),
     (a, b, c, d, e))
WRAP(int, umount, (const char *a), (a))
WRAP(int, umount2, (const char *a, int b), (a, b))
WRAP_IF(int, close, (int fd), (fd), is_seen(fd))
WRAP_IF(ssize_t, write, (int fd, const void *b, size_t c), (fd, b, c), is_file(fd))
WRAP_IF(ssize_t, pwrite64, (int fd, const void *b, size_t c, off64_t d), (fd, b, c, d), is_file(fd))
WRAP(int, rename, (const char *a, const char *b), (a, b))
WRAP(int, link, (const char *a, const char *b), (a, b))
WRAP(int, unlink, (const char *a), (a))
WRAP(int, unlinkat, (int a, const char *b, int c), (a, b, c))
WRAP(int, mkdir, (const char *a, mode_t b), (a, b))
WRAP(int, mkdirat, (int a, const char *b, mode_t c), (a, b, c))
WRAP(int, chmod, (const char *a, mode_t b), (a, b))
WRAP(int, fchmod, (int a, mode_t b), (a, b))
WRAP(int, fchmodat, (int a, const char *b, mode_t c, int d), (a, b, c, d))
WRAP(int, chown, (const char *a, uid_t b, gid_t c), (a, b, c))
WRAP(int, fchown, (int a, uid_t b, gid_t c), (a, b, c))
WRAP(int, ftruncate64, (int a, off64_t b), (a, b))
WRAP(int, mkostemp64, (char *a, int b), (a, b))
WRAP_IF(int, __open_2, (const char *a, int flags), (a, flags), changes(flags))
WRAP_IF(int, __open64_2, (const char *a, int flags), (a, flags), changes(flags))
WRAP_IF(int, __openat_2, (int a, const char *b, int flags), (a, b, flags), changes(flags))
WRAP(int, kill, (pid_t a, int b), (a, b))
WRAP(int, connect, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))
WRAP(int, bind, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))
WRAP(int, accept4, (int a, struct sockaddr *b, socklen_t *c, int d), (a, b, c, d))
WRAP(ssize_t, send, (int a, const void *b, size_t c, int d), (a, b, c, d))
WRAP(ssize_t, sendmsg, (int a, const struct msghdr *b, int c), (a, b, c))

#define WRAP_OPEN(name, params, args)                                                                        \
    int name params                                                                                          \
    {                                                                                                        \
        va_list more;                                                                                        \
        mode_t mode = 0;                                                                                     \
        va_start(more, flags);                                                                               \
        if (changes(flags))                                                                                  \
            mode = va_arg(more, mode_t);                                                                     \
        va_end(more);                                                                                        \
        REAL(int, name, params);                                                                             \
        uint32_t n = changes(flags) ? shim_enter(CALL_##name, __builtin_return_address(0)) : 0;              \
        int result = real args;                                                                              \
        shim_leave(CALL_##name, n);                                                                          \
        return result;                                                                                       \
    }
WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
WRAP_OPEN(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))

int ioctl(int fd, unsigned long request, ...)
{
    va_list more;
    va_start(more, request);
    void *arg = va_arg(more, void *);
    va_end(more);
    REAL(int, ioctl, (int, unsigned long, ...));
    uint32_t n = is_change(request) ? shim_enter(CALL_ioctl, __builtin_return_address(0)) : 0;
    int result = real(fd, request, arg);
    shim_leave(CALL_ioctl, n);
    return result;
}

/* Our helpers are counted, too; what else is run is not. */
static char **environment(const char *path, char *const *given)
{
    static const char *const ours[] = { "rbdvol-mapper", "rbdvol-device" };
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = 0;
    while (given[n])
        n++;
    char **env = calloc(n + 3, sizeof *env);
    memcpy(env, given, n * sizeof *env);
    if (!shim || (strcmp(name, ours[0]) != 0 && strcmp(name, ours[1]) != 0))
        return env;
    if (asprintf(&env[n], SHIM_ENV "=%s", getenv(SHIM_ENV)) < 0 ||
        asprintf(&env[n + 1], "LD_PRELOAD=%s", getenv(SHIM_PRELOAD)) < 0)
        abort();
    return env;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attr, char *const *argv, char *const *env)
{
    REAL(int, posix_spawn,
         (pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const *,
          char *const *));
    uint32_t n = shim_enter(CALL_posix_spawn, __builtin_return_address(0));
    int result =
        real(pid, path, actions, attr, argv, environment(path, env)); /* leaked: a few hundred bytes */
    shim_leave(CALL_posix_spawn, n);
    return result;
}

WRAP(int, rados_connect, (rados_t a), (a))
WRAP(int, rados_write_op_operate, (rados_write_op_t a, rados_ioctx_t b, const char *c, time_t *d, int e),
     (a, b, c, d, e))
WRAP(int, rados_aio_write_op_operate,
     (rados_write_op_t a, rados_ioctx_t b, rados_completion_t c, const char *d, time_t *e, int f),
     (a, b, c, d, e, f))
WRAP(int, rados_lock_exclusive,
     (rados_ioctx_t a, const char *b, const char *c, const char *d, const char *e, struct timeval *f,
      uint8_t g),
     (a, b, c, d, e, f, g))
WRAP(int, rados_lock_shared,
     (rados_ioctx_t a, const char *b, const char *c, const char *d, const char *e, const char *f,
      struct timeval *g, uint8_t h),
     (a, b, c, d, e, f, g, h))
WRAP(int, rados_unlock, (rados_ioctx_t a, const char *b, const char *c, const char *d), (a, b, c, d))
WRAP(int, rados_break_lock, (rados_ioctx_t a, const char *b, const char *c, const char *d, const char *e),
     (a, b, c, d, e))
WRAP(int, rados_exec,
     (rados_ioctx_t a, const char *b, const char *c, const char *d, const char *e, size_t f, char *g,
      size_t h),
     (a, b, c, d, e, f, g, h))
WRAP(int, rados_write_full, (rados_ioctx_t a, const char *b, const char *c, size_t d), (a, b, c, d))
WRAP(int, rados_remove, (rados_ioctx_t a, const char *b), (a, b))
WRAP(int, rados_blocklist_add, (rados_t a, char *b, uint32_t c), (a, b, c))
WRAP(int, rados_notify2,
     (rados_ioctx_t a, const char *b, const char *c, int d, uint64_t e, char **f, size_t *g),
     (a, b, c, d, e, f, g))
WRAP(int, rados_watch3,
     (rados_ioctx_t a, const char *b, uint64_t *c, rados_watchcb2_t d, rados_watcherrcb_t e, uint32_t f,
      void *g),
     (a, b, c, d, e, f, g))
WRAP(int, rados_unwatch2, (rados_ioctx_t a, uint64_t b), (a, b))
WRAP(int, rados_mon_command,
     (rados_t a, const char **b, size_t c, const char *d, size_t e, char **f, size_t *g, char **h, size_t *i),
     (a, b, c, d, e, f, g, h, i))

WRAP(int, rbd_create4, (rados_ioctx_t a, const char *b, uint64_t c, rbd_image_options_t d), (a, b, c, d))
WRAP(int, rbd_clone3,
     (rados_ioctx_t a, const char *b, const char *c, rados_ioctx_t d, const char *e, rbd_image_options_t f),
     (a, b, c, d, e, f))
WRAP(int, rbd_open, (rados_ioctx_t a, const char *b, rbd_image_t *c, const char *d), (a, b, c, d))
WRAP(int, rbd_open_read_only, (rados_ioctx_t a, const char *b, rbd_image_t *c, const char *d), (a, b, c, d))
WRAP(int, rbd_open_by_id, (rados_ioctx_t a, const char *b, rbd_image_t *c, const char *d), (a, b, c, d))
WRAP(int, rbd_close, (rbd_image_t a), (a))
WRAP(int, rbd_lock_acquire, (rbd_image_t a, rbd_lock_mode_t b), (a, b))
WRAP(int, rbd_lock_release, (rbd_image_t a), (a))
WRAP(int, rbd_lock_break, (rbd_image_t a, rbd_lock_mode_t b, const char *c), (a, b, c))
WRAP(int, rbd_trash_move, (rados_ioctx_t a, const char *b, uint64_t c), (a, b, c))
WRAP(int, rbd_trash_remove, (rados_ioctx_t a, const char *b, bool c), (a, b, c))
WRAP(int, rbd_trash_restore, (rados_ioctx_t a, const char *b, const char *c), (a, b, c))
WRAP(int, rbd_flush, (rbd_image_t a), (a))
WRAP(int, rbd_aio_flush, (rbd_image_t a, rbd_completion_t b), (a, b))
WRAP(int, rbd_aio_write, (rbd_image_t a, uint64_t b, size_t c, const char *d, rbd_completion_t e),
     (a, b, c, d, e))
WRAP(int, rbd_aio_write_zeroes, (rbd_image_t a, uint64_t b, size_t c, rbd_completion_t d, int e, int f),
     (a, b, c, d, e, f))
WRAP(int, rbd_update_watch, (rbd_image_t a, uint64_t *b, rbd_update_callback_t c, void *d), (a, b, c, d))
WRAP(int, rbd_update_unwatch, (rbd_image_t a, uint64_t b), (a, b))
WRAP(int, rbd_update_features, (rbd_image_t a, uint64_t b, uint8_t c), (a, b, c))
WRAP(int, rbd_resize2, (rbd_image_t a, uint64_t b, bool c, librbd_progress_fn_t d, void *e), (a, b, c, d, e))
WRAP(int, rbd_flatten, (rbd_image_t a), (a))
WRAP(int, rbd_snap_create2, (rbd_image_t a, const char *b, uint32_t c, librbd_progress_fn_t d, void *e),
     (a, b, c, d, e))
WRAP(int, rbd_snap_remove2, (rbd_image_t a, const char *b, uint32_t c, librbd_progress_fn_t d, void *e),
     (a, b, c, d, e))
WRAP(int, rbd_snap_create, (rbd_image_t a, const char *b), (a, b))
WRAP(int, rbd_snap_remove, (rbd_image_t a, const char *b), (a, b))
WRAP(int, rbd_snap_rollback, (rbd_image_t a, const char *b), (a, b))
WRAP(int, rbd_snap_protect, (rbd_image_t a, const char *b), (a, b))
WRAP(int, rbd_snap_unprotect, (rbd_image_t a, const char *b), (a, b))
WRAP(int, rbd_metadata_set, (rbd_image_t a, const char *b, const char *c), (a, b, c))
WRAP(int, rbd_metadata_remove, (rbd_image_t a, const char *b), (a, b))
WRAP(int, rbd_rename, (rados_ioctx_t a, const char *b, const char *c), (a, b, c))
WRAP(int, rbd_remove, (rados_ioctx_t a, const char *b), (a, b))

void rados_shutdown(rados_t cluster)
{
    REAL(void, rados_shutdown, (rados_t));
    uint32_t n = shim_enter(CALL_rados_shutdown, __builtin_return_address(0));
    real(cluster);
    shim_leave(CALL_rados_shutdown, n);
}
