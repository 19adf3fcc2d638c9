/* SPDX-License-Identifier: MIT */
/* Who this host is: what tells it from other hosts, and this boot from the last. */
#pragma once

#include <time.h>

#include "base/error.h"

struct identity {
    char host[65];       /* gethostname(2), for messages only: two hosts may have one name */
    char machine_id[33]; /* /etc/machine-id; the boot id without its dashes where there is none */
    char boot_id[37];    /* /proc/sys/kernel/random/boot_id */
};

/* -ENOENT and others: no boot id could be read. */
int identity_read(struct identity *ret, struct error *err);

/* n random bytes as 2n lower-case hexadecimal digits and a NUL (buf holds 2n + 1). */
void identity_random_hex(char *buf, unsigned n);

#define STAMPED_ID_LEN 16

/* A new identifier that tells when it was made: 8 hexadecimal digits of seconds since 1970, 8 random ones. */
void identity_stamped_id(char buf[static STAMPED_ID_LEN + 1]);

/* When it was made; 0: it does not tell. */
time_t identity_stamped_time(const char *id);
