/* SPDX-License-Identifier: MIT */
#include "device/krbd.h"

#include <errno.h>
#include <fcntl.h>
#include <keyutils.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/krbd.h"

#define KEY_FD  3
#define KEY_MAX 256

/* The kernel looks for it in the keyrings of who writes. This one ends with the process. */
static int add_ceph_key(const char *name)
{
    unsigned char key[KEY_MAX];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof key && (n = read(KEY_FD, key + len, sizeof key - len)) > 0)
        len += (size_t)n;
    key_serial_t serial = len ? add_key("ceph", name, key, len, KEY_SPEC_PROCESS_KEYRING) : -1;
    explicit_bzero(key, sizeof key);
    return serial < 0 ? -1 : 0;
}

int krbd_main(char *const *argv)
{
    const char *mapping = argv[0]; /* for whoever looks at our argv */
    const char *file = mapping ? argv[1] : NULL, *text = file ? argv[2] : NULL;
    const char *key_name = text ? argv[3] : NULL;
    if (!text)
        return EINVAL;
    if (key_name && add_ceph_key(key_name) < 0)
        return KRBD_EXIT_KEY;
    auto_close int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    /* One write, whole: the driver takes what it gets in one call for one line. */
    ssize_t n = write(fd, text, strlen(text));
    return n < 0 ? errno : (size_t)n == strlen(text) ? 0 : EIO;
}
