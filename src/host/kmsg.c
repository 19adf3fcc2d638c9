/* SPDX-License-Identifier: MIT */
#include "host/kmsg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECORD_MAX 8192

int kmsg_open(void)
{
    int fd = open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && lseek(fd, 0, SEEK_END) < 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* "loop3" is not in "loop31". */
static bool mentions(const char *text, const char *device)
{
    size_t len = strlen(device);
    for (const char *p = text; (p = strstr(p, device)); p += len)
        if (p[len] < '0' || p[len] > '9')
            return true;
    return false;
}

void kmsg_read(int fd, const char *device, char *buf, size_t size)
{
    char record[RECORD_MAX];
    size_t have = 0;
    buf[0] = '\0';
    while (fd >= 0) {
        ssize_t n = read(fd, record, sizeof record - 1);
        if (n < 0 &&
            (errno == EINTR || errno == EPIPE)) /* EPIPE: records were overwritten before we read them */
            continue;
        if (n <= 0)
            return;
        record[n] = '\0';
        record[strcspn(record, "\n")] = '\0'; /* what follows are the record's tags */
        const char *text = strchr(record, ';');
        if (!text || !mentions(text, device) || have + 8 >= size)
            continue;
        have += (size_t)snprintf(buf + have, size - have, "%s%s", have ? "; " : "", text + 1);
    }
}
