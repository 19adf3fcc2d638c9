/* SPDX-License-Identifier: MIT */
#include "main/show.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "main/table.h"

/* How wide the terminal is; 0: it is none, nothing is cut. */
static size_t screen(void)
{
    struct winsize w;
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int by_name(const void *a, const void *b)
{
    return strcmp(text_of(*(json_t *const *)a, "Name"), text_of(*(json_t *const *)b, "Name"));
}

/* The members of the array in the order of their names; *n of them. The caller frees the array. */
static const json_t **sorted(const json_t *volumes, size_t *n)
{
    *n = json_array_size(volumes);
    const json_t **all = calloc(*n + 1, sizeof *all);
    if (!all)
        abort();
    for (size_t i = 0; i < *n; i++)
        all[i] = json_array_get(volumes, i);
    qsort(all, *n, sizeof *all, by_name);
    return all;
}

void show_list(const json_t *volumes)
{
    static const char *const heads[] = { "NAME", "MOUNTED AT", NULL };
    struct table t;
    size_t n;
    auto_free const json_t **all = sorted(volumes, &n);
    table_init(&t, heads);
    for (size_t i = 0; i < n; i++) {
        table_add(&t, text_of(all[i], "Name"));
        table_add(&t, text_of(all[i], "Mountpoint"));
    }
    table_print(&t, stdout, screen());
    table_done(&t);
}

/* Puts a value as one line into buf: objects as "key=value key=value". */
static void value_text(const char *key, const json_t *value, char *buf, size_t size)
{
    char unit[32];
    const char *member;
    json_t *item;
    size_t len = 0;
    buf[0] = '\0';
    if (json_is_string(value))
        (void)snprintf(buf, size, "%s", json_string_value(value));
    else if (json_is_integer(value) && strcmp(key, "size") == 0 && json_integer_value(value) > 0)
        (void)snprintf(buf, size, "%s", text_size((uint64_t)json_integer_value(value), unit));
    else if (json_is_integer(value))
        (void)snprintf(buf, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(buf, size, "%s", json_is_true(value) ? "yes" : "no");
    else if (json_is_object(value))
        json_object_foreach((json_t *)(uintptr_t)value, member, item)
        {
            char text[256];
            value_text(member, item, text, sizeof text);
            if (len < size)
                len += (size_t)snprintf(buf + len, size - len, "%s%s=%s", len ? " " : "", member, text);
        }
}

static void print_field(const char *key, const json_t *value, bool first)
{
    char text[1024], label[64];
    value_text(key, value, text, sizeof text);
    if (!*text)
        return;
    text_printable(text);
    (void)snprintf(label, sizeof label, "%s:", key);
    (void)printf("%-14s %s\n", first ? label : "", text);
}

void show_volume(const json_t *volume)
{
    const char *key;
    json_t *value, *status = json_object_get(volume, "Status");
    print_field("name", json_object_get(volume, "Name"), true);
    print_field("mounted at", json_object_get(volume, "Mountpoint"), true);
    print_field("created", json_object_get(volume, "CreatedAt"), true);
    json_object_foreach(status, key, value)
    {
        size_t i;
        json_t *item;
        if (!json_is_array(value)) {
            print_field(key, value, true);
            continue;
        }
        json_array_foreach(value, i, item) print_field(key, item, i == 0);
    }
}

/* "web 3f2a91bc0d12 x2, (no ID)": the containers' names, where Docker told them, then the IDs. These are 64
 * digits, of which twelve tell them apart, as everywhere in Docker. */
static void holders_text(const json_t *volume, char *buf, size_t size)
{
    size_t i, len = 0;
    json_t *holder, *name;
    buf[0] = '\0';
    json_array_foreach(json_object_get(volume, "Containers"), i, name)
    {
        const char *text = json_string_value(name);
        int n = snprintf(buf + len, size - len, "%s ", text ? text : "?");
        if (n < 0 || (size_t)n >= size - len)
            return;
        len += (size_t)n;
    }
    json_array_foreach(json_object_get(volume, "Holders"), i, holder)
    {
        const char *id = text_of(holder, "ID");
        json_int_t count = json_integer_value(json_object_get(holder, "Count"));
        char times[24] = "";
        if (count > 1)
            (void)snprintf(times, sizeof times, " x%lld", (long long)count);
        int n = snprintf(buf + len, size - len, "%s%.12s%s", i ? ", " : "", *id ? id : "(no ID)", times);
        if (n < 0 || (size_t)n >= size - len)
            return;
        len += (size_t)n;
    }
}

/* What goes on with a volume, what keeps it from where it should be, and when that is tried again: whole,
 * since this is what somebody is looking for. */
static void print_pending(const json_t *v)
{
    const char *busy = text_of(v, "Busy"), *since = text_of(v, "BusySince"), *pending = text_of(v, "Pending");
    const char *next = text_of(v, "NextTry");
    char text[2000];
    if (!*busy && !*pending)
        return;
    (void)snprintf(text, sizeof text, "%s: %s%s%s%s%s%s%s", text_of(v, "Name"), busy,
                   *busy && *since ? " since " : "", *busy ? since : "", *busy && *pending ? "; " : "",
                   pending, *next ? "; next try at " : "", next);
    text_printable(text);
    (void)puts(text);
}

static void print_volumes(const json_t *volumes)
{
    static const char *const heads[] = { "NAME", "STATE", "MAPPER", "DEVICE", "HOLDERS", "MOUNTED AT", NULL };
    bool pending = false;
    struct table t;
    size_t n;
    auto_free const json_t **all = sorted(volumes, &n);
    if (n == 0) {
        (void)puts("No volume is in use on this host.");
        return;
    }
    table_init(&t, heads);
    for (size_t i = 0; i < n; i++) {
        char text[512];
        table_add(&t, text_of(all[i], "Name"));
        table_add(&t, text_of(all[i], "State"));
        table_add(&t, text_of(all[i], "Mapper"));
        table_add(&t, text_of(all[i], "Device"));
        holders_text(all[i], text, sizeof text);
        table_add(&t, text);
        table_add(&t, text_of(all[i], "Mountpoint"));
        pending |= *text_of(all[i], "Busy") || *text_of(all[i], "Pending");
    }
    table_print(&t, stdout, screen());
    table_done(&t);
    if (pending)
        (void)fputs("\npending\n", stdout);
    for (size_t i = 0; i < n; i++)
        print_pending(all[i]);
}

/* "up: why" with what is known. */
static void print_line(const char *label, const char *state, const char *detail, const char *more)
{
    (void)printf("%-9s %s%s%s%s%s\n", label, *state ? state : "unknown", *detail ? ", " : "", detail,
                 *more ? ": " : "", more);
}

void show_status(const json_t *status)
{
    const char *key;
    json_t *value;
    size_t i;
    const json_t *cluster = json_object_get(status, "Cluster"), *mapper = json_object_get(status, "Mapper");
    const char *fsid = text_of(cluster, "Fsid"), *since = text_of(cluster, "Since");
    char detail[256];
    print_line("rbdvol", text_of(status, "Version"), "", "");
    print_line("instance", text_of(status, "Instance"), "", "");
    (void)snprintf(detail, sizeof detail, "%s%s%s%s", *fsid ? "fsid " : "", fsid,
                   *since ? (*fsid ? ", since " : "since ") : "", since);
    print_line("cluster", text_of(cluster, "State"), detail, text_of(cluster, "Why"));
    if (*text_of(cluster, "NoFencing"))
        print_line("fencing", "impossible", "", text_of(cluster, "NoFencing"));
    print_line("mapper", text_of(mapper, "Name"), "", text_of(mapper, "Why"));
    (void)printf("%-9s", "pools");
    json_array_foreach(json_object_get(status, "Pools"), i, value)(void)
        printf("%s %s", i ? "," : "", json_string_value(value) ? json_string_value(value) : "?");
    (void)fputc('\n', stdout);
    json_object_foreach(json_object_get(status, "Hidden"), key,
                        value) if (json_integer_value(value) > 0)(void)
        printf("%-9s %lld images in pool %s, which ls leaves out: format 1, or not the name of a volume\n",
               "hidden", (long long)json_integer_value(value), key);
    (void)fputc('\n', stdout);
    print_volumes(json_object_get(status, "Volumes"));
}

void show_lock(const json_t *report)
{
    size_t i;
    json_t *one;
    const char *owner = text_of(report, "Owner");
    (void)printf("%-14s %s\n", "lock:", text_of(report, "State"));
    if (*owner)
        (void)printf("%-14s %s\n", "owner:", owner);
    json_array_foreach(json_object_get(report, "Watchers"), i, one)(void)
        printf("%-14s %s\n", i ? "" : "open at:", json_string_value(one) ? json_string_value(one) : "?");
}
