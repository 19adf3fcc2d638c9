/* SPDX-License-Identifier: MIT */
/* The input is a sequence of requests on an engine with nothing real below it. Between two requests is a byte
 * 0xff, which no JSON has; the first byte of each tells its path and whether its answer arrives, the rest is
 * its body. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "fakes/engine.h"
#include "fuzz.h"

#define REQUESTS_MAX 16
#define LOST         0x80 /* the answer does not arrive */

static const char *const paths[] = {
    "/VolumeDriver.Create",  "/VolumeDriver.Remove",  "/VolumeDriver.Mount", "/VolumeDriver.Unmount",
    "/VolumeDriver.Path",    "/VolumeDriver.Get",     "/VolumeDriver.List",  "/VolumeDriver.Capabilities",
    "/Plugin.Activate",      "/Rbdvol.Status",        "/Rbdvol.Remove",      "/Rbdvol.Release",
    "/Rbdvol.Unlock",        "/Rbdvol.Resize",        "/Rbdvol.Trim",        "/Rbdvol.Trash.List",
    "/Rbdvol.Trash.Restore", "/Rbdvol.Trash.Purge",   "/Rbdvol.Snap.Create", "/Rbdvol.Snap.List",
    "/Rbdvol.Snap.Remove",   "/Rbdvol.Snap.Rollback",
};
#define NPATHS (sizeof paths / sizeof *paths)

static struct fixture fixture;

static void end(void)
{
    fixture_remove(&fixture);
}

static void fill_world(void)
{
    fake_world_reset();
    fake_volume_add(NULL, "a");
    fake_image_set(&fake_volume_add(NULL, "b")->spec,
                   "{\"version\":1,\"fstype\":\"xfs\",\"sharing\":\"host\"}");
    fake_image_add(NULL, "c");
}

static void begin(void)
{
    if (fixture.engine)
        return;
    fixture_setup(&fixture);
    (void)atexit(end);
}

/* Every answer is one that Docker can read, and silence is Get's alone. */
static void check(const char *path, const struct api_reply *r)
{
    if (r->status == 0) {
        if (strcmp(path, "/VolumeDriver.Get") != 0 || r->body)
            abort();
        return;
    }
    json_auto_t *j = json_loads(r->body, JSON_REJECT_DUPLICATES, NULL);
    const json_t *err = json_object_get(j, "Err");
    if (!json_is_string(err) || (r->status != 200 && r->status != 400 && r->status != 500) ||
        (r->status == 200) != (json_string_length(err) == 0) || (r->status != 200 && r->grant))
        abort();
    const char *mountpoint = json_string_value(json_object_get(j, "Mountpoint"));
    if (strcmp(path, "/VolumeDriver.Mount") == 0 && r->status == 200 &&
        !(mountpoint && fake_mounted(mountpoint)))
        abort();
}

static void request(const uint8_t *data, size_t size)
{
    const char *path = paths[(data[0] % LOST) % NPATHS];
    const struct api_request req = {
        .method = "POST", .path = path, .body = (const char *)data + 1, .len = size - 1
    };
    struct api_reply reply;
    api_handle(fixture.engine, &req, &reply);
    check(path, &reply);
    api_sent(fixture.engine, &reply, !(data[0] & LOST));
    free(reply.body);
}

/* Unmounts for whoever is left. */
static void unmount_all(void)
{
    size_t n;
    struct volume **all = registry_all(&fixture.engine->registry, &n);
    for (size_t i = 0; i < n; i++) {
        char full[IMAGE_NAME_MAX + 1], id[HOLDER_ID_MAX + 1];
        struct error err;
        while (all[i]->holders.n > 0) {
            memcpy(id, all[i]->holders.all[0].id, sizeof id);
            if (fixture_unmount(&fixture, image_name_full(&all[i]->name, full), id, &err) < 0)
                abort();
        }
        registry_release(&fixture.engine->registry, all[i]);
    }
    free(all);
    fixture_settle(&fixture);
    if (fake_mount_count() || fake_mapping_count() || fake_device_count() || fake_places_lent())
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    fill_world();
    for (unsigned i = 0; i < REQUESTS_MAX && size > 0; i++) {
        const uint8_t *next = memchr(data + 1, 0xff, size - 1);
        size_t len = next ? (size_t)(next - data) : size;
        request(data, len);
        data += len + (next != NULL);
        size -= len + (next != NULL);
    }
    unmount_all();
    return 0;
}
