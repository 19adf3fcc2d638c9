/* SPDX-License-Identifier: MIT */
#include "base/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FIRST_FD  3 /* the child's first descriptor beside the standard ones */
#define FDS_MAX   8
#define PARK_FD   64 /* sources are moved above the child's numbers before dup2 puts them in place */
#define REAP_WAIT 1000

static char *const environment[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, (char[]){ "LC_ALL=C" },
                                     NULL };

int command_find(const char *program, char *path, size_t size)
{
    static const char *const dirs[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin" };
    if (program[0] == '/')
        return snprintf(path, size, "%s", program) < (int)size && access(path, X_OK) == 0 ? 0 : -ENOENT;
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        if (snprintf(path, size, "%s/%s", dirs[i], program) < (int)size && access(path, X_OK) == 0)
            return 0;
    return -ENOENT;
}

/* What the child starts with: descriptors, signals, a session of its own. */
struct setup {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int parked[FDS_MAX];
    unsigned nparked;
};

static void setup_done(struct setup *s)
{
    posix_spawn_file_actions_destroy(&s->files);
    posix_spawnattr_destroy(&s->attr);
    for (unsigned i = 0; i < s->nparked; i++)
        (void)close(s->parked[i]);
}

static int setup_init(struct setup *s, const int *fds, unsigned nfds, int output)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    s->nparked = 0;
    posix_spawn_file_actions_init(&s->files);
    posix_spawnattr_init(&s->attr);
    /* Our threads block signals for sigwait: a child that inherited the mask would never see SIGTERM. */
    posix_spawnattr_setsigmask(&s->attr, &none);
    posix_spawnattr_setsigdefault(&s->attr, &all);
    posix_spawnattr_setflags(&s->attr,
                             (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID));
    posix_spawn_file_actions_addopen(&s->files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (output >= 0)
        posix_spawn_file_actions_adddup2(&s->files, output, STDOUT_FILENO);
    else
        posix_spawn_file_actions_addopen(&s->files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&s->files, STDOUT_FILENO, STDERR_FILENO);
    for (unsigned i = 0; i < nfds; i++) {
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, PARK_FD);
        if (fd < 0) /* EINVAL: no more descriptors than PARK_FD are allowed */
            return errno == EINVAL ? -EMFILE : -errno;
        s->parked[s->nparked++] = fd;
        posix_spawn_file_actions_adddup2(&s->files, fd, (int)(FIRST_FD + i));
    }
    posix_spawn_file_actions_addclosefrom_np(&s->files, (int)(FIRST_FD + nfds));
    return 0;
}

static int spawn(const char *program, const char *const *argv, const int *fds, unsigned nfds, int output,
                 pid_t *ret)
{
    struct setup s;
    int rc = nfds > FDS_MAX ? -E2BIG : setup_init(&s, fds, nfds, output);
    if (nfds > FDS_MAX)
        return rc;
    if (rc == 0) /* posix_spawn(3) does not change its arguments; the prototype is older than const */
        rc = -posix_spawn(ret, program, &s.files, &s.attr, (char *const *)(uintptr_t)argv, environment);
    setup_done(&s);
    return rc;
}

int command_spawn(const char *program, const char *const *argv, const int *fds, unsigned nfds, pid_t *ret,
                  struct error *err)
{
    int rc = spawn(program, argv, fds, nfds, -1, ret);
    return rc < 0 ? error_set(err, rc, "cannot run %s: %s", program, error_text(rc)) : 0;
}

int command_spawn_logged(const char *program, const char *const *argv, int output, pid_t *ret,
                         struct error *err)
{
    int rc = spawn(program, argv, NULL, 0, output, ret);
    return rc < 0 ? error_set(err, rc, "cannot run %s: %s", program, error_text(rc)) : 0;
}

static void *reap(void *arg)
{
    pid_t pid = (pid_t)(intptr_t)arg;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return NULL;
}

void command_disown(pid_t pid)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 64 << 10);
    /* Without a thread the zombie stays until we end: a table entry, nothing more. */
    (void)pthread_create(&thread, &attr, reap, (void *)(intptr_t)pid);
    pthread_attr_destroy(&attr);
}

int command_wait(pid_t pid, moment deadline)
{
    auto_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return -errno;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int n;
    while ((n = poll(&p, 1, clock_left_ms(deadline))) < 0)
        if (errno != EINTR)
            return -errno;
    if (n == 0)
        return -ETIMEDOUT;
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

/* Reads until the end of the output or the deadline; keeps the last bytes, on one line. */
static void collect(int fd, moment deadline, struct command_output *out)
{
    size_t have = 0, room = sizeof out->text - 1;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int left, n_ready;
    /* the deadline is looked at, too: a program that never stops writing is always ready */
    while ((left = clock_left_ms(deadline)) > 0 && (n_ready = poll(&p, 1, left)) != 0) {
        if (n_ready < 0 && errno != EINTR)
            break;
        if (n_ready < 0)
            continue;
        if (have == room) { /* the beginning and the end tell the reason; what is between them makes room */
            memmove(out->text + room / 2, out->text + room - room / 4, room / 4);
            have = room / 2 + room / 4;
        }
        ssize_t n = read(fd, out->text + have, room - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    while (have && (unsigned char)out->text[have - 1] <= ' ')
        have--;
    out->text[have] = '\0';
    for (size_t i = 0; i < have; i++)
        if (out->text[i] == '\n')
            out->text[i] = ';';
}

/* "program …" as the child starts: behind setpriv(1) where it must not have our privileges. */
static int argv_of(const struct command *cmd, char *program, size_t size, const char **argv, size_t max)
{
    static const char *const drop[] = { "setpriv",        "--reuid=65534",   "--regid=65534",
                                        "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
                                        "--no-new-privs" };
    size_t n = 0;
    static _Thread_local char inner[256];
    if (command_find(cmd->argv[0], inner, sizeof inner) < 0)
        return -ENOENT;
    if (cmd->unprivileged) {
        if (command_find("setpriv", program, size) < 0)
            return -ENOENT;
        while (n < sizeof drop / sizeof *drop) {
            argv[n] = drop[n];
            n++;
        }
    } else {
        (void)snprintf(program, size, "%s", inner);
    }
    argv[n++] = inner;
    for (size_t i = 1; cmd->argv[i]; i++) {
        if (n + 1 >= max)
            return -E2BIG;
        argv[n++] = cmd->argv[i];
    }
    argv[n] = NULL;
    return 0;
}

int command_run(const struct command *cmd, struct command_output *out, struct error *err)
{
    const char *argv[128], *name = cmd->argv[0];
    char program[256];
    int pipes[2];
    out->text[0] = '\0';
    int rc = argv_of(cmd, program, sizeof program, argv, sizeof argv / sizeof *argv);
    if (rc < 0)
        return error_set(err, rc, "cannot run %s: %s", name,
                         rc == -ENOENT ? "it is not installed (looked in /usr/sbin, /usr/bin, /sbin, /bin)"
                                       : error_text(rc));
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return error_set(err, -errno, "cannot run %s: %s", name, error_text(errno));
    auto_close int output = pipes[0];
    pid_t pid;
    rc = spawn(program, argv, &cmd->keep_fd, cmd->keep_fd >= 0 ? 1 : 0, pipes[1], &pid);
    (void)close(pipes[1]);
    if (rc < 0)
        return error_set(err, rc, "cannot run %s: %s", name, error_text(rc));
    collect(output, cmd->deadline, out);
    rc = command_wait(pid, cmd->deadline);
    if (rc == -ETIMEDOUT) {
        (void)kill(-pid, SIGKILL);
        if (command_wait(pid, clock_in_ms(REAP_WAIT)) == -ETIMEDOUT)
            command_disown(pid);
        return error_set(err, -ETIMEDOUT, "%s did not end in time; it was stopped", name);
    }
    if (rc == -EINTR)
        return error_set(err, rc, "%s was killed by a signal", name);
    return rc < 0 ? error_set(err, rc, "cannot wait for %s: %s", name, error_text(rc)) : rc;
}
