/* SPDX-License-Identifier: MIT */
#include "base/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

int identity_read(struct identity *ret, struct error *err)
{
    struct identity id = { 0 };
    int rc = file_read_line("/proc/sys/kernel/random/boot_id", id.boot_id, sizeof id.boot_id, err);
    if (rc < 0)
        return rc;
    struct error none;
    if (file_read_line("/etc/machine-id", id.machine_id, sizeof id.machine_id, &none) < 0 ||
        !text_is_hex(id.machine_id, 32)) {
        size_t n = 0;
        memset(id.machine_id, 0, sizeof id.machine_id);
        for (const char *p = id.boot_id; *p && n < 32; p++)
            if (*p != '-')
                id.machine_id[n++] = *p;
    }
    if (gethostname(id.host, sizeof id.host - 1) < 0)
        return error_set(err, -errno, "cannot read the host name: %s", error_text(errno));
    for (char *p = id.host; *p; p++)
        if (*p == '/')
            *p = '_';
    *ret = id;
    return 0;
}

void identity_random_hex(char *buf, unsigned n)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char raw[64];
    if (n > sizeof raw || getrandom(raw, n, 0) != (ssize_t)n)
        abort(); /* getrandom(2) gives up to 256 bytes whole once the pool is ready, and blocks until then */
    for (unsigned i = 0; i < n; i++) {
        buf[2 * i] = hex[raw[i] >> 4];
        buf[2 * i + 1] = hex[raw[i] & 15];
    }
    buf[2 * n] = '\0';
}

#define STAMP_MIN   1700000000L /* nothing of ours is older */
#define STAMP_AHEAD 86400L      /* clocks of hosts differ */

void identity_stamped_id(char buf[static STAMPED_ID_LEN + 1])
{
    (void)snprintf(buf, STAMPED_ID_LEN + 1, "%08lx", (unsigned long)time(NULL) & 0xffffffffUL);
    identity_random_hex(buf + 8, 4);
}

time_t identity_stamped_time(const char *id)
{
    char digits[9];
    if (!text_is_hex(id, STAMPED_ID_LEN))
        return 0;
    (void)snprintf(digits, sizeof digits, "%s", id);
    time_t t = (time_t)strtoul(digits, NULL, 16);
    return t >= STAMP_MIN && t <= time(NULL) + STAMP_AHEAD ? t : 0;
}
