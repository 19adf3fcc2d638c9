/* SPDX-License-Identifier: MIT */
/* rbdvol-mapper: one RBD image as one regular file. Started by the daemon, which mounted the file already and
 * hands over /dev/fuse and a listening socket; outlives the daemon for as long as the file is open. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "mapper/buffers.h"
#include "mapper/control.h"
#include "mapper/heartbeat.h"
#include "mapper/image.h"
#include "mapper/serve.h"
#include "mapper/setup.h"
#include "mapper/spare.h"
#include "mapper/state.h"

#define FUSE_FD    3
#define CONTROL_FD 4

#define CONNECT_MS_MAX 3600000

struct arguments {
    struct image_options image;
    const char *key_file;
    const char *instance; /* for whoever looks at our argv */
    const char *mapping;
    char *room; /* of one that waits for its image, for the words that it learns then; NULL */
    bool late;  /* it does not connect before */
};

static int number(const char *text, int64_t *ret)
{
    uint32_t n;
    int rc = text_parse_u32(text, CONNECT_MS_MAX, &n);
    if (rc == 0)
        *ret = n;
    return rc;
}

static int arguments_parse(struct arguments *a, int argc, char **argv)
{
    static const struct option options[] = {
        { "instance", required_argument, NULL, 'i' },
        { "mapping", required_argument, NULL, 'm' },
        { "pool", required_argument, NULL, 'p' },
        { "namespace", required_argument, NULL, 'n' },
        { "image", required_argument, NULL, 'I' },
        { "image-id", required_argument, NULL, 'd' },
        { "conf", required_argument, NULL, 'c' },
        { "cluster", required_argument, NULL, 'C' },
        { "user", required_argument, NULL, 'u' },
        { "connect-ms", required_argument, NULL, 'M' },
        { "key-file", required_argument, NULL, 'k' },
        { "ro", no_argument, NULL, 'r' },
        { "spare", required_argument, NULL, 's' },
        { "late", no_argument, NULL, 'l' },
        { NULL, 0, NULL, 0 },
    };
    static struct passphrase key;
    *a = (struct arguments){ .image = { .ns = "", .key = &key, .connection = { .timeout_ms = 15000 } },
                             .key_file = "" };
    const char **const texts[] = {
        ['i'] = &a->instance,
        ['m'] = &a->mapping,
        ['k'] = &a->key_file,
        ['p'] = &a->image.pool,
        ['n'] = &a->image.ns,
        ['I'] = &a->image.name,
        ['d'] = &a->image.id,
        ['c'] = &a->image.connection.conf,
        ['C'] = &a->image.connection.cluster,
        ['u'] = &a->image.connection.user,
    };
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'r')
            a->image.ro = true;
        else if (o == 'l')
            a->late = true;
        else if (o == 's')
            a->room = optarg;
        else if (o == 'M' && number(optarg, &a->image.connection.timeout_ms) == 0)
            continue;
        else if (o > 0 && (size_t)o < sizeof texts / sizeof *texts && texts[o])
            *texts[o] = optarg;
        else
            return -EINVAL;
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i] && !*texts[i] && !(a->room && strchr("mpId", (int)i)))
            return -EINVAL;
    return optind == argc ? 0 : -EINVAL;
}

/* Waits until there is something to map. */
static void wait_for_image(struct arguments *a)
{
    spare_wait(FUSE_FD, CONTROL_FD, a->room, &a->image, &a->mapping, &a->key_file);
}

/* Everything that needs a privilege, before the first thread. NULL: err says why, and is told to whoever asks
 * on the control socket. */
static rados_t prepare(struct arguments *a, int *keyring, struct error *err)
{
    static char from[256];
    rados_t rados;
    struct error failed, drop;
    *keyring = -1;
    int rc = connection_prepare(&a->image.connection, CONNECTION_DATA, &rados, err);
    if (rc < 0)
        rados = NULL;
    else
        rc = setup_keyring(rados, keyring, from, sizeof from, &failed);
    if (a->late)
        wait_for_image(a);
    if (rc == 0 && a->key_file[0])
        rc = passphrase_read(a->key_file, a->image.key, &failed);
    if (*from)
        a->image.connection.keyring = from;
    if (setup_drop(&drop) < 0 && rc == 0) {
        rc = drop.code;
        failed = drop;
    }
    if (rc == 0 || !rados)
        return rados;
    *err = failed;
    rados_shutdown(rados);
    return NULL;
}

/* Connects, and waits. Without a connection it is of no use: it ends. */
static void wait_as_spare(struct arguments *a, rados_t rados)
{
    struct error err;
    if (!rados || connection_start(rados, &a->image.connection, CONNECTION_DATA, &err) < 0)
        _exit(1);
    a->image.connected = true;
    wait_for_image(a);
}

/* Connects, opens, locks. Meanwhile the control thread answers. */
static int start(const struct arguments *a, rados_t rados, int keyring, struct image *im, struct state *state,
                 struct heartbeat *heartbeat, struct buffers *buffers, struct error *err)
{
    int rc = rados ? image_start(im, &a->image, rados, state, err) : err->code;
    if (keyring >= 0)
        (void)close(keyring);
    if (rc < 0)
        return rc;
    rc = heartbeat_start(heartbeat, im, buffers, err);
    if (rc < 0)
        image_cancel(im);
    return rc;
}

int main(int argc, char **argv)
{
    static struct arguments args;
    static struct state state;
    static struct image image;
    static struct buffers buffers;
    static struct heartbeat heartbeat;
    static struct serve serve; /* who ends the last request still uses it when the kernel has let go */
    static char warning[256];
    struct error err = { 0 };
    if (arguments_parse(&args, argc, argv) < 0) {
        (void)fputs("rbdvol-mapper is started by rbdvol, and is of no use by itself\n", stderr);
        return 2;
    }
    setup_process(warning, sizeof warning);
    int fuse = args.room ? -1 : setup_fuse_ends_first(FUSE_FD);
    if (state_init(&state, &err) < 0)
        return 1;
    buffers_init(&buffers);
    int keyring;
    rados_t rados = prepare(&args, &keyring, &err);
    if (args.room && !args.late)
        wait_as_spare(&args, rados);
    if (args.room)
        fuse = setup_fuse_ends_first(FUSE_FD);
    static struct control control;
    control = (struct control){ .listen = CONTROL_FD,
                                .mapping = args.mapping,
                                .warning = warning,
                                .opts = &args.image,
                                .image = &image,
                                .state = &state,
                                .heartbeat = &heartbeat };
    struct error no_control;
    if (control_start(&control, &no_control) < 0)
        return 1;
    int rc = start(&args, rados, keyring, &image, &state, &heartbeat, &buffers, &err);
    if (rc < 0) {
        state_failed(&state, &err);
    } else {
        state_ready(&state);
        setup_trim();
        serve = (struct serve){
            .fuse = fuse, .ro = args.image.ro, .image = &image, .state = &state, .buffers = &buffers
        };
        serve_run(&serve);
    }
    /* The control thread ends the process. */
    for (;;)
        (void)pause();
}
