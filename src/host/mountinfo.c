/* SPDX-License-Identifier: MIT */
#include "host/mountinfo.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* A decimal number and the character that ends it. */
static bool number(const char **at, char end, unsigned *ret)
{
    const char *p = *at;
    uint64_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (uint64_t)(*p - '0');
        if (n > UINT32_MAX)
            return false;
    }
    if (p == *at || *p != end)
        return false;
    *at = p + 1;
    *ret = (unsigned)n;
    return true;
}

static bool octal(const char *p)
{
    return p[0] >= '0' && p[0] <= '3' && p[1] >= '0' && p[1] <= '7' && p[2] >= '0' && p[2] <= '7';
}

/* Copies the text up to the next blank, or the end of the line, with \040 and the like undone. An empty field
 * is one that a blank follows at once (a source may be ""). */
static bool field(const char **at, char *buf, size_t size)
{
    const char *p = *at;
    size_t n = 0;
    if (*p == '\0' || *p == '\n')
        return false;
    for (; *p && *p != ' ' && *p != '\n'; p++) {
        char c = *p;
        if (c == '\\' && octal(p + 1)) {
            c = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 3;
        }
        if (n + 1 >= size || c == '\0')
            return false;
        buf[n++] = c;
    }
    buf[n] = '\0';
    *at = *p == ' ' ? p + 1 : p;
    return true;
}

int mountinfo_parse(const char *line, struct mount_entry *ret)
{
    const char *p = line;
    char word[PATH_MAX];
    if (!number(&p, ' ', &ret->id) || !number(&p, ' ', &ret->parent) || !number(&p, ':', &ret->major) ||
        !number(&p, ' ', &ret->minor) || !field(&p, ret->root, sizeof ret->root) ||
        !field(&p, ret->mountpoint, sizeof ret->mountpoint) || !field(&p, word, sizeof word))
        return -EINVAL;
    ret->shared = ret->slave = false;
    for (;;) {
        if (!field(&p, word, sizeof word))
            return -EINVAL;
        if (strcmp(word, "-") == 0)
            break;
        ret->shared |= strncmp(word, "shared:", 7) == 0;
        ret->slave |= strncmp(word, "master:", 7) == 0;
    }
    if (!field(&p, ret->fstype, sizeof ret->fstype) || !field(&p, ret->source, sizeof ret->source))
        return -EINVAL;
    return 0;
}

int mountinfo_each(const char *pid, bool (*visit)(void *arg, const struct mount_entry *e), void *arg,
                   struct error *err)
{
    char path[64];
    struct mount_entry e;
    (void)snprintf(path, sizeof path, "/proc/%s/mountinfo", pid);
    auto_file FILE *f = fopen(path, "re");
    if (!f) /* what is missing here is a process, or /proc: never an image */
        return error_set(err, errno == ENOENT ? -ESRCH : -errno, "cannot read %s: %s", path,
                         error_text(errno));
    auto_free char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, f) > 0)
        if (mountinfo_parse(line, &e) == 0 && visit(arg, &e))
            return 1;
    /* A process that ends while it is read gives EINVAL or ESRCH here. */
    return ferror(f) ? error_set(err, -ESRCH, "cannot read %s: %s", path, error_text(errno)) : 0;
}

struct search {
    const char *path;
    struct mount_entry *found;
    bool any;
    unsigned major, minor; /* with node: the device that is looked for, too */
    const char *node;
    bool ours;
};

static bool at_path(void *arg, const struct mount_entry *e)
{
    struct search *s = arg;
    if (strcmp(e->mountpoint, s->path) != 0)
        return false;
    s->ours |= s->node && mountinfo_is_on(e, s->major, s->minor, s->node);
    /* The list is in no promised order: the topmost is the one that stands on the other. */
    if (s->any && s->found->parent == e->id)
        return false;
    *s->found = *e;
    s->any = true;
    return false;
}

int mountinfo_at(const char *path, struct mount_entry *ret, struct error *err)
{
    struct mount_entry found;
    struct search s = { .path = path, .found = &found };
    int rc = mountinfo_each("self", at_path, &s, err);
    if (rc < 0)
        return rc;
    if (!s.any)
        return 0;
    *ret = found;
    return 1;
}

int mountinfo_pile(const char *path, unsigned major, unsigned minor, const char *node,
                   struct mount_entry *ret, struct error *err)
{
    struct mount_entry top;
    struct search s = { .path = path, .found = &top, .major = major, .minor = minor, .node = node };
    int rc = mountinfo_each("self", at_path, &s, err);
    if (rc < 0)
        return rc;
    if (!s.ours)
        return MOUNTINFO_NOWHERE;
    if (mountinfo_is_on(&top, major, minor, node))
        return MOUNTINFO_TOP;
    *ret = top;
    return MOUNTINFO_COVERED;
}

struct ground {
    const struct mount_entry *of;
    char *text;
};

static bool is_below(void *arg, const struct mount_entry *e)
{
    struct ground *g = arg;
    size_t n = strcmp(e->mountpoint, "/") == 0 ? 0 : strlen(e->mountpoint);
    if (e->id != g->of->parent || strncmp(g->of->mountpoint, e->mountpoint, n) != 0)
        return false;
    return snprintf(g->text, MOUNTINFO_GROUND_MAX, "%u:%u:%s%s", e->major, e->minor,
                    strcmp(e->root, "/") == 0 ? "" : e->root, g->of->mountpoint + n) < MOUNTINFO_GROUND_MAX;
}

int mountinfo_ground(const char *pid, const struct mount_entry *e, char ground[static MOUNTINFO_GROUND_MAX],
                     struct error *err)
{
    struct ground g = { e, ground };
    ground[0] = '\0';
    return mountinfo_each(pid, is_below, &g, err);
}

bool mountinfo_is_on(const struct mount_entry *e, unsigned major, unsigned minor, const char *node)
{
    if (e->major == major && e->minor == minor)
        return true;
    return e->major == 0 && strcmp(e->fstype, "btrfs") == 0 && strcmp(e->source, node) == 0;
}
