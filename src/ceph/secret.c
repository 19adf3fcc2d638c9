/* SPDX-License-Identifier: MIT */
#include "ceph/secret.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

#define FILE_MAX  65536
#define VALUE_MAX 4096

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Up to the first character that is not base64. 1: a key, 0: not. */
static int decode(const char *text, struct secret *ret)
{
    uint32_t bits = 0;
    unsigned have = 0;
    ret->len = 0;
    for (int d; (d = digit(*text)) >= 0; text++) {
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (ret->len == sizeof ret->bytes)
            return 0;
        ret->bytes[ret->len++] = (unsigned char)(bits >> have);
    }
    return ret->len > 0;
}

/* The value of "name = value" in a line; NULL: another line. */
static const char *value_of(const char *line, const char *name)
{
    size_t len = strlen(name);
    while (isblank((unsigned char)*line))
        line++;
    if (strncmp(line, name, len) != 0)
        return NULL;
    line += len;
    line += strspn(line, " \t");
    if (*line != '=')
        return NULL;
    line++;
    return line + strspn(line, " \t\"");
}

int secret_parse(const char *keyring, const char *user, struct secret *ret)
{
    char section[300];
    bool inside = false;
    (void)snprintf(section, sizeof section, "[client.%s]", user);
    for (const char *line = keyring; line && *line; line = strchr(line, '\n')) {
        line += strspn(line, "\r\n \t");
        if (*line == '[') {
            inside = strncmp(line, section, strlen(section)) == 0;
            continue;
        }
        const char *value = inside ? value_of(line, "key") : NULL;
        if (value && decode(value, ret))
            return 1;
    }
    return 0;
}

static char *read_secret_file(const char *path, size_t *len)
{
    struct error ignored;
    char *text = NULL;
    return file_read(path, FILE_MAX, &text, len, &ignored) < 0 ? NULL : text;
}

static void free_wiped(char *text, size_t len)
{
    if (text)
        explicit_bzero(text, len);
    free(text);
}

/* As librados does it: the first file of the list that can be read. */
static int from_keyrings(char *paths, const char *user, struct secret *ret)
{
    int found = 0;
    for (char *save, *path = strtok_r(paths, ", ;", &save); path; path = strtok_r(NULL, ", ;", &save)) {
        size_t len = 0;
        char *text = read_secret_file(path, &len);
        if (!text)
            continue;
        found = secret_parse(text, user, ret);
        free_wiped(text, len);
        break;
    }
    return found;
}

static int from_keyfile(const char *path, struct secret *ret)
{
    size_t len = 0;
    char *text = *path ? read_secret_file(path, &len) : NULL;
    int found = text ? decode(text + strspn(text, " \t\r\n"), ret) : 0;
    free_wiped(text, len);
    return found;
}

int secret_read(const struct place *p, const char *user, struct secret *ret, struct error *err)
{
    char value[VALUE_MAX] = "", paths[VALUE_MAX] = "";
    rados_t rados = rados_ioctx_get_cluster(p->io);
    struct secret s = { .len = 0 };
    int found = rados_conf_get(rados, "key", value, sizeof value) == 0 && decode(value, &s);
    explicit_bzero(value, sizeof value);
    if (!found && rados_conf_get(rados, "keyfile", value, sizeof value) == 0)
        found = from_keyfile(value, &s);
    if (!found && rados_conf_get(rados, "keyring", paths, sizeof paths) == 0) {
        (void)snprintf(value, sizeof value, "%s", paths);
        found = from_keyrings(value, user, &s);
    }
    if (!found) {
        s.len = 0;
        if (rados_conf_get(rados, "auth_client_required", value, sizeof value) < 0 || strstr(value, "cephx"))
            return error_set(err, -ENODEV, "no key for client.%s was found (looked in %s)", user, paths);
    }
    *ret = s;
    secret_done(&s);
    return 0;
}

void secret_done(struct secret *s)
{
    explicit_bzero(s, sizeof *s);
}
