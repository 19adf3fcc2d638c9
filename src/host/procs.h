/* SPDX-License-Identifier: MIT */
/* Looks at other processes through /proc. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* A process' start time in clock ticks after boot (proc(5), stat field 22): with the pid it names a process
 * for ever. -ESRCH: there is none. */
int procs_start_time(pid_t pid, uint64_t *ret);

/* Is the process with this pid and start time still there (and no zombie)? */
bool procs_alive(pid_t pid, uint64_t start);

/* Who keeps the device (by number) busy: a process whose mount namespace has it mounted (anywhere but at
 * except_mountpoint in our own namespace), or one with a file, a working directory or a root on it. 1: found,
 * and who is a sentence part for people ("pid 4711 (bash) with an open file"); 0: nobody was seen. Bounded by
 * the number of processes, reads only /proc. except_mountpoint may be NULL, and must be free of symlinks.
 * While it is mounted, copies of it that other namespaces received by propagation are not counted, at
 * whatever path they have them: umount takes them with it. */
int procs_pinning(unsigned major, unsigned minor, const char *except_mountpoint, char *who, size_t size);

/* Does any mount namespace but ours at except_mountpoint have this device mounted? 1 yes, 0 no. */
int procs_mounted_elsewhere(unsigned major, unsigned minor, const char *except_mountpoint, char *who,
                            size_t size);

/* Calls visit() with each process whose program has this name and whose argv[0] is it, with its whole argv,
 * until it returns true. 1: it did; 0: it never did; negative: it never did, and not all of them could be
 * looked at (-EMFILE). The name may begin with an "@" that the program's has not. argv NULL: it has the
 * program's name, but its argv could not be read, since it hangs, or since nobody could be sent to read it.
 */
int procs_each(const char *argv0, bool (*visit)(void *arg, pid_t pid, char *const *argv), void *arg);

/* "pid 4711 (bash)", for messages. */
void procs_name(pid_t pid, char *buf, size_t size);

/* Calls visit() with each process' pid until it returns true. 1: it did; 0: it never did; negative: /proc
 * cannot be read (-EMFILE). */
int procs_each_pid(bool (*visit)(void *arg, pid_t pid), void *arg);
