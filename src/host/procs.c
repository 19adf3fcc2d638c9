/* SPDX-License-Identifier: MIT */
#include "host/procs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "host/device.h"

#define STAT_MAX 4096
#define ARGS_MAX 128
#define ARGV_MS  3000
#define READERS  2 /* the first may be killed */
#define HUNG_MAX 16
#define HUNG_MS  30000
#define COMM_MAX 15 /* what the kernel keeps of a name */

/* Field 3 (the state) and 22 (the start time) of /proc/PID/stat. Field 2 is a name that may hold anything,
 * blanks and parentheses too: the others begin behind the last parenthesis. */
static int stat_read(pid_t pid, char *state, uint64_t *start)
{
    char path[64];
    struct error ignored;
    auto_free char *text = NULL;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (file_read(path, STAT_MAX, &text, NULL, &ignored) < 0)
        return -ESRCH;
    const char *p = strrchr(text, ')');
    unsigned long long ticks;
    if (!p ||
        sscanf(p + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
               state, &ticks) != 2)
        return -ESRCH;
    *start = ticks;
    return 0;
}

int procs_start_time(pid_t pid, uint64_t *ret)
{
    char state;
    return stat_read(pid, &state, ret);
}

bool procs_alive(pid_t pid, uint64_t start)
{
    char state;
    uint64_t now;
    return pid > 0 && stat_read(pid, &state, &now) == 0 && now == start && state != 'Z' && state != 'X';
}

void procs_name(pid_t pid, char *buf, size_t size)
{
    char path[64], comm[64] = "?";
    struct error ignored;
    (void)snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    (void)file_read_line(path, comm, sizeof comm, &ignored);
    (void)snprintf(buf, size, "pid %d (%s)", (int)pid, comm);
}

int procs_each_pid(bool (*visit)(void *arg, pid_t pid), void *arg)
{
    auto_dir DIR *dir = opendir("/proc");
    const struct dirent *d;
    uint32_t pid;
    if (!dir)
        return -errno;
    while ((d = readdir(dir)))
        if (text_parse_u32(d->d_name, INT32_MAX, &pid) == 0 && visit(arg, (pid_t)pid))
            return 1;
    return 0;
}

struct argv_search {
    const char *argv0;
    bool (*visit)(void *arg, pid_t pid, char *const *argv);
    void *arg;
    struct device *reader; /* a helper: whoever reads may hang */
    int unseen;            /* why one of any program could not be looked at; 0: each could */
};

/* Those that did not let themselves be read: a hang is waited for only once in a while. */
static struct {
    pthread_mutex_t lock; /* a leaf */
    struct {
        pid_t pid;
        uint64_t start;
        moment until;
    } all[HUNG_MAX];
    size_t next;
} hung = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool is_hung(pid_t pid, uint64_t start)
{
    moment now = clock_now();
    LOCK_SCOPE(&hung.lock);
    for (size_t i = 0; i < HUNG_MAX; i++)
        if (hung.all[i].pid == pid && hung.all[i].start == start && hung.all[i].until > now)
            return true;
    return false;
}

static void note_hung(pid_t pid, uint64_t start)
{
    LOCK_SCOPE(&hung.lock);
    hung.all[hung.next].pid = pid;
    hung.all[hung.next].start = start;
    hung.all[hung.next].until = clock_in_ms(HUNG_MS);
    hung.next = (hung.next + 1) % HUNG_MAX;
}

static bool is_absent(int rc)
{
    return rc == -ENOENT || rc == -ENODEV || rc == -ESRCH;
}

/* The kernel's own name for a process is its program's. Its argv lies in its memory, whose lock may be held
 * for as long as its storage hangs: nobody else's is looked at. 1: yes, 0: no, negative: could not look. */
static int is_program(pid_t pid, const char *argv0)
{
    char path[64], comm[128]; /* kernel threads have longer ones */
    struct error ignored;
    (void)snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int rc = file_read_line(path, comm, sizeof comm, &ignored);
    if (rc < 0)
        return is_absent(rc) ? 0 : rc;
    return strncmp(comm, argv0 + (argv0[0] == '@'), COMM_MAX) == 0;
}

/* Ours may hang, too: then who reads is left behind. 0: *text is filled; -ETIMEDOUT: it hangs, or nobody
 * could be sent to look; others: it is gone, or none of ours. */
static int argv_read(struct argv_search *s, pid_t pid, char **text, size_t *len)
{
    uint64_t start;
    struct error err;
    if (procs_start_time(pid, &start) < 0)
        return -ESRCH;
    if (is_hung(pid, start))
        return -ETIMEDOUT;
    for (unsigned tries = 0; tries < READERS; tries++) {
        if (!s->reader && device_start(&s->reader, &err) < 0)
            return -ETIMEDOUT;
        int rc = device_argv(s->reader, pid, clock_in_ms(ARGV_MS), text, len, &err);
        if (rc == 0 || is_absent(rc) || rc == -EILSEQ)
            return rc;
        device_end(s->reader);
        s->reader = NULL;
        if (rc != -ETIMEDOUT) /* who should look was killed, or has no memory */
            continue;
        note_hung(pid, start);
        break;
    }
    return -ETIMEDOUT;
}

static bool argv_matches(void *arg, pid_t pid)
{
    struct argv_search *s = arg;
    char *argv[ARGS_MAX + 1];
    size_t len = 0, n = 0;
    auto_free char *text = NULL;
    int rc = is_program(pid, s->argv0);
    if (rc < 0)
        s->unseen = rc;
    if (rc <= 0)
        return false;
    rc = argv_read(s, pid, &text, &len);
    if (rc == -ETIMEDOUT)
        return s->visit(s->arg, pid, NULL);
    if (rc < 0 || len == 0 || strcmp(text, s->argv0) != 0)
        return false;
    for (char *p = text; p < text + len && n < ARGS_MAX; p += strlen(p) + 1)
        argv[n++] = p;
    argv[n] = NULL;
    return s->visit(s->arg, pid, argv);
}

int procs_each(const char *argv0, bool (*visit)(void *arg, pid_t pid, char *const *argv), void *arg)
{
    struct argv_search s = { .argv0 = argv0, .visit = visit, .arg = arg };
    int rc = procs_each_pid(argv_matches, &s);
    device_end(s.reader);
    return rc == 0 ? s.unseen : rc;
}
