/* SPDX-License-Identifier: MIT */
#include "main/journal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* no source file and line: that is the sink's, not the event's */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#define PREFIX "RBDVOL_"

/* "key=" at the beginning of a word; the length of the key, 0: it is none. */
static size_t key_len(const char *word)
{
    size_t len = strspn(word, "abcdefghijklmnopqrstuvwxyz_-");
    return word[len] == '=' ? len : 0;
}

static void add(char *ret, const char *key, size_t key_len, const char *value, size_t value_len)
{
    int at =
        snprintf(ret, JOURNAL_FIELD_SIZE, "%s%.*s=%.*s", PREFIX, (int)key_len, key, (int)value_len, value);
    for (char *p = ret + strlen(PREFIX); at > 0 && *p && *p != '='; p++)
        *p = (char)(*p == '-' ? '_' : toupper((unsigned char)*p));
}

size_t journal_fields(const char *text, char (*ret)[JOURNAL_FIELD_SIZE], size_t max)
{
    const char *pool = NULL, *image = NULL;
    size_t n = 0, pool_len = 0, image_len = 0;
    bool volume = false;
    for (const char *word = text; *word && n < max; word += strspn(word, " ")) {
        size_t len = strcspn(word, " "), key = key_len(word);
        if (key) {
            const char *value = word + key + 1;
            /* a sentence follows: "path=/VolumeDriver.Mount volume=db: cannot…" */
            size_t value_len = len - key - 1 - (word[len - 1] == ':' || word[len - 1] == ';');
            add(ret[n++], word, key, value, value_len);
            if (strncmp(word, "volume=", 7) == 0)
                volume = true;
            else if (strncmp(word, "pool=", 5) == 0)
                pool = value, pool_len = value_len;
            else if (strncmp(word, "image=", 6) == 0)
                image = value, image_len = value_len;
        }
        word += len;
    }
    if (!volume && pool && image && n < max) {
        char full[JOURNAL_FIELD_SIZE];
        int len = snprintf(full, sizeof full, "%.*s/%.*s", (int)pool_len, pool, (int)image_len, image);
        add(ret[n++], "volume", 6, full, (size_t)len);
    }
    return n;
}

static bool send_entry(enum log_level level, const char *text)
{
    char fields[JOURNAL_FIELDS_MAX][JOURNAL_FIELD_SIZE], message[1100], priority[16];
    struct iovec parts[JOURNAL_FIELDS_MAX + 3];
    size_t n = journal_fields(text, fields, JOURNAL_FIELDS_MAX);
    (void)snprintf(message, sizeof message, "MESSAGE=%s", text);
    (void)snprintf(priority, sizeof priority, "PRIORITY=%d", (int)level);
    char *const fixed[] = { message, priority, (char[]){ "SYSLOG_IDENTIFIER=rbdvol" } };
    for (size_t i = 0; i < 3; i++)
        parts[i] = (struct iovec){ fixed[i], strlen(fixed[i]) };
    for (size_t i = 0; i < n; i++)
        parts[3 + i] = (struct iovec){ fields[i], strlen(fields[i]) };
    return sd_journal_sendv(parts, (int)(3 + n)) == 0;
}

void journal_start(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;
    if (stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
        st.st_dev == dev && st.st_ino == ino)
        log_set_sink(send_entry);
}
