/* SPDX-License-Identifier: MIT */
#include "main/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define FILE_MAX     (1u << 20)
#define LINE_MAX_INI 199 /* libinih's line buffer holds 200 bytes; what is longer it would cut in two */
#define PREFIX       "RBDVOL_"

static int put(struct config *c, const struct option_row *row, const char *origin, const char *value,
               struct error *err)
{
    int rc = option_set(row, value, &c->settings, err);
    if (rc < 0)
        return error_prefix(err, "%s", origin);
    char **slot = &c->origin[row - options];
    free(*slot);
    *slot = strdup(origin);
    return *slot ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* ---- flags ---- */

/* The value of --name= in the arguments (the last one counts), or NULL. */
static const char *flag_value(int argc, const char *const *argv, const char *name)
{
    const char *value = NULL;
    size_t len = strlen(name);
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], "--", 2) == 0 && strncmp(argv[i] + 2, name, len) == 0 && argv[i][2 + len] == '=')
            value = argv[i] + 3 + len;
    return value;
}

static int read_flags(struct config *c, int argc, const char *const *argv, struct error *err)
{
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i], *equals = strchr(arg, '=');
        if (strncmp(arg, "--", 2) != 0)
            return error_set(err, -EINVAL, "'%s' is not an option: options are written --NAME=VALUE", arg);
        char origin[64];
        (void)snprintf(origin, sizeof origin, "%.*s", equals ? (int)(equals - arg) : 60, arg);
        if (strcmp(origin, "--config") == 0 && equals)
            continue;
        const struct option_row *row = option_find(origin + 2);
        if (!row)
            return error_set(err, -EINVAL, "%s: there is no such option; 'rbdvol help serve' lists them",
                             origin);
        if (!equals)
            return error_set(err, -EINVAL, "%s: it has no value: write %s=%s", origin, origin, row->value);
        int rc = put(c, row, origin, equals + 1, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- environment ---- */

static int read_environment(struct config *c, const char *const *environment, struct error *err)
{
    for (; *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        if (!equals || strncmp(*environment, PREFIX, strlen(PREFIX)) != 0)
            continue;
        char variable[64], known[64];
        (void)snprintf(variable, sizeof variable, "%.*s", (int)(equals - *environment), *environment);
        /* A managed plugin's config.json declares its variables with empty values: empty is not set. */
        if (equals[1] == '\0' || strcmp(variable, PREFIX "CONFIG") == 0)
            continue;
        const struct option_row *row = NULL;
        for (size_t i = 0; i < options_count && !row; i++)
            if (strcmp(option_variable(&options[i], known, sizeof known), variable) == 0)
                row = &options[i];
        if (!row)
            return error_set(err, -EINVAL, "%s: there is no such option; 'rbdvol help serve' lists them",
                             variable);
        int rc = put(c, row, variable, equals + 1, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static const char *environment_value(const char *const *environment, const char *variable)
{
    size_t len = strlen(variable);
    for (; *environment; environment++)
        if (strncmp(*environment, variable, len) == 0 && (*environment)[len] == '=' &&
            (*environment)[len + 1])
            return *environment + len + 1;
    return NULL;
}

/* ---- file ---- */

struct file {
    struct config *config;
    const char *path, *name; /* name: of the instance, when the file was found by it; else NULL */
    const char *next;
    int line; /* the one that the parser is at: Debian's libinih does not tell its handler */
    int set_at[CONFIG_OPTIONS_MAX];
    struct error *err;
    int rc;
};

static int file_error(struct file *f, const char *text)
{
    if (f->rc == 0)
        f->rc = error_set(f->err, -EINVAL, "%s:%d: %s", f->path, f->line, text);
    return 0;
}

/* libinih's fgets. Blanks at the beginning go away: libinih would take an indented line for the last value's
 * continuation. */
static char *next_line(char *buf, int size, void *arg)
{
    struct file *f = arg;
    if (*f->next == '\0' || f->rc < 0)
        return NULL;
    f->line++;
    size_t len = strcspn(f->next, "\n");
    const char *text = f->next + strspn(f->next, " \t");
    size_t used = text < f->next + len ? (size_t)(f->next + len - text) : 0;
    f->next += len + (f->next[len] == '\n');
    if (used > LINE_MAX_INI - 1 || used + 2 > (size_t)size) {
        file_error(f, "the line is longer than 198 bytes");
        return NULL;
    }
    if (used && *text == '[') {
        file_error(f, "there are no sections in this file");
        return NULL;
    }
    (void)snprintf(buf, (size_t)size, "%.*s\n", (int)used, text);
    return buf;
}

static int on_line(void *arg, const char *section, const char *name, const char *value)
{
    struct file *f = arg;
    (void)section;
    if (f->rc < 0)
        return 0;
    char origin[PATH_MAX + 64];
    const struct option_row *row = option_find(name);
    if (!row) {
        char text[256];
        (void)snprintf(text, sizeof text, "%.60s: there is no such option; 'rbdvol help serve' lists them",
                       name);
        return file_error(f, text);
    }
    int *set_at = &f->set_at[row - options];
    if (*set_at) {
        (void)snprintf(origin, sizeof origin, "%s: it is set in line %d already", name, *set_at);
        return file_error(f, origin);
    }
    *set_at = f->line;
    (void)snprintf(origin, sizeof origin, "%s:%d: %s", f->path, f->line, name);
    f->rc = put(f->config, row, origin, value, f->err);
    if (f->rc == 0 && f->name && strcmp(name, "name") == 0 && strcmp(value, f->name) != 0)
        return file_error(
            f,
            "name: this file was found by the instance's name, which it cannot change: rename the file, or "
            "name it with --config");
    return f->rc == 0;
}

static int read_file(struct config *c, const char *path, const char *name, struct error *err)
{
    auto_free char *text = NULL;
    size_t len;
    int rc = file_read(path, FILE_MAX, &text, &len, err);
    if (rc == -ENOENT && name)
        return 0;
    if (rc < 0)
        return error_prefix(err, "the configuration");
    if (strlen(text) != len)
        return error_set(err, -EINVAL, "%s: there is a NUL byte in it: this is not a text file", path);
    struct file f = { .config = c, .path = path, .name = name, .next = text, .err = err };
    int bad = ini_parse_stream(next_line, &f, on_line, &f);
    if (f.rc == 0 && bad) {
        f.line = bad > 0 ? bad : f.line;
        file_error(&f, "this is not a line of the form 'option = value'");
    }
    (void)snprintf(c->file, sizeof c->file, "%s", path);
    return f.rc;
}

/* ---- all together ---- */

static int inside(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static int check_together(const struct config *c, struct error *err)
{
    const struct settings *s = &c->settings;
    if (!s->mount_root || !s->scratch_dir || !s->state_dir) /* each has a default */
        return error_set(err, -EINVAL, "a directory has no value");
    if (s->max_size && s->size > s->max_size)
        return error_set(err, -EINVAL, "%s: new volumes would be larger than max-size allows",
                         config_origin(c, "size"));
    /* POOL directories in mount-root: anything else there could be taken for a volume, or be hidden by one */
    if (inside(s->scratch_dir, s->mount_root))
        return error_set(err, -EINVAL, "%s: it is inside mount-root", config_origin(c, "scratch-dir"));
    if (inside(s->state_dir, s->mount_root))
        return error_set(err, -EINVAL, "%s: it is inside mount-root", config_origin(c, "state-dir"));
    return 0;
}

static int load(int argc, const char *const *argv, const char *const *environment, struct config *c,
                struct error *err)
{
    char path[PATH_MAX];
    int rc = read_environment(c, environment, err);
    if (rc < 0)
        return rc;
    const char *file = flag_value(argc, argv, "config"), *name = flag_value(argc, argv, "name");
    if (!file)
        file = environment_value(environment, PREFIX "CONFIG");
    if (!name)
        name = c->settings.name ? c->settings.name : option_find("name")->preset;
    (void)snprintf(path, sizeof path, RBDVOL_SYSCONFDIR "/rbdvol/%s.conf", name);
    auto_free char *instance = strdup(name); /* reading the file may replace the settings' name */
    if (!instance)
        return error_set(err, -ENOMEM, "out of memory");
    /* --name=../../x would read any file: the flags are checked before the file that they lead to, and count
     * after it. */
    if ((rc = read_flags(c, argc, argv, err)) < 0 ||
        (rc = read_file(c, file ? file : path, file ? NULL : instance, err)) < 0 ||
        (rc = read_flags(c, argc, argv, err)) < 0)
        return rc;
    for (size_t i = 0; i < options_count; i++)
        if (!c->origin[i] && option_preset(&options[i], &c->settings, err) < 0)
            return error_prefix(err, "%s", options[i].name);
    return check_together(c, err);
}

int config_load(int argc, const char *const *argv, const char *const *environment, struct config *ret,
                struct error *err)
{
    struct config c = { .file = "" };
    int rc = load(argc, argv, environment, &c, err);
    if (rc < 0)
        config_free(&c);
    else
        *ret = c;
    return rc;
}

const char *config_origin(const struct config *config, const char *option)
{
    const struct option_row *row = option_find(option);
    return row && config->origin[row - options] ? config->origin[row - options] : option;
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < CONFIG_OPTIONS_MAX; i++)
        free(config->origin[i]);
    settings_free(&config->settings);
    *config = (struct config){ .file = "" };
}
