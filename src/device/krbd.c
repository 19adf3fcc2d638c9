/* SPDX-License-Identifier: MIT */
#include "device/krbd.h"

#include <errno.h>
#include <fcntl.h>
#include <keyutils.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "device/label.h"
#include "host/krbd.h"

#define KEY_MAX 256

/* The kernel looks for it in the keyrings of who writes. 0, or why not. */
static int add_ceph_key(const char *name, int channel, key_serial_t *ret)
{
    unsigned char key[KEY_MAX];
    ssize_t len;
    while ((len = recv(channel, key, sizeof key, 0)) < 0 && errno == EINTR)
        ;
    *ret = len > 0 ? add_key("ceph", name, key, (size_t)len, KEY_SPEC_PROCESS_KEYRING) : -1;
    explicit_bzero(key, sizeof key);
    return *ret < 0 ? KRBD_EXIT_KEY : 0;
}

/* One write, whole: the driver takes what it gets in one call for one line. */
static int write_once(const char *file, const char *text)
{
    auto_close int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    ssize_t n = write(fd, text, strlen(text));
    return n < 0 ? errno : (size_t)n == strlen(text) ? 0 : EIO;
}

int krbd_do(const char *mapping, const char *file, const char *text, const char *key_name, int channel)
{
    key_serial_t key = -1;
    int rc = key_name ? add_ceph_key(key_name, channel, &key) : 0;
    if (rc == 0) {
        label_set(DEVICE_KRBD, mapping);
        rc = write_once(file, text);
        label_set(DEVICE_BUSY, NULL);
    }
    if (key >= 0 && keyctl_invalidate(key) < 0) /* the kernel's client has a copy by now */
        (void)keyctl_unlink(key, KEY_SPEC_PROCESS_KEYRING);
    return rc;
}
