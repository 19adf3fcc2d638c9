/* SPDX-License-Identifier: MIT */
/* What the helper can do: each request is one step of host/ on the device that it holds. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "device/freeze.h"
#include "host/mount.h"

/* The attached device. It stays open until nobody has the helper any more, so that its number is nobody
 * else's meanwhile. */
struct holding {
    int channel; /* on which the requests come */
    int fd;      /* -1: none yet */
    bool ro;
    struct device_node node;
    struct freeze freeze;
    struct mount_news news; /* told once nobody waits for us */
};

/* Does one request; results go into reply. */
int requests_do(struct holding *h, json_t *request, json_t *reply, struct error *err);
