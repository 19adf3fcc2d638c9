/* SPDX-License-Identifier: MIT */
/* rbdvol-device: the steps on one block device that can hang in the kernel, away from the daemon
 * (host/device.h). It answers the requests that come on descriptor 3 (base/channel.h) and ends when that
 * closes. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/clock.h"
#include "device/label.h"
#include "device/nobody.h"
#include "device/privileges.h"
#include "device/requests.h"

#define CHANNEL_FD 3
#define IDLE_MS    86400000
#define REPLY_MS   10000
#define ORPHAN_MS  2000 /* how long a file system stays frozen that nobody will ask to thaw any more */

/* One request and its reply. False: the daemon is gone, or what it sends makes no sense. */
static bool serve(struct holding *held)
{
    json_auto_t *request = NULL, *reply = NULL;
    struct error err = { 0 };
    bool frozen = held->freeze.root >= 0;
    int rc =
        channel_receive(CHANNEL_FD, frozen ? held->freeze.thaw_at : clock_in_ms(IDLE_MS), &request, &err);
    if (rc == -ETIMEDOUT && frozen)
        freeze_expire(&held->freeze);
    if (rc < 0)
        return rc == -ETIMEDOUT;
    reply = json_object();
    if (requests_do(held, request, reply, &err) < 0) {
        json_decref(reply);
        reply = channel_refusal(&err);
    } else {
        json_object_set_new(reply, "ok", json_true());
    }
    return reply && channel_send(CHANNEL_FD, reply, clock_in_ms(REPLY_MS), &err) == 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "as-nobody") == 0)
        return nobody_exec(argv + 2);
    if (argc == 3 && strcmp(argv[1], "exclusive") == 0) {
        privileges_drop();
        return open(argv[2], O_RDONLY | O_EXCL | O_CLOEXEC) < 0 ? errno : 0;
    }
    int type;
    socklen_t len = sizeof type;
    if (getsockopt(CHANNEL_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET) {
        (void)fprintf(stderr, "rbdvol-device is started by rbdvol, with a socket as descriptor 3\n");
        return 2;
    }
    if (argc == 3)
        label_init(argv);
    privileges_drop();
    (void)!chdir("/"); /* keeps no file system busy */
    struct holding held = { .channel = CHANNEL_FD, .fd = -1, .freeze = { .root = -1 } };
    while (serve(&held))
        ;
    if (held.freeze.root >= 0) { /* what it was frozen for may still be on its way */
        clock_pause_ms(ORPHAN_MS);
        freeze_expire(&held.freeze);
    }
    mount_tell(&held.news);
    return 0;
}
