/* SPDX-License-Identifier: MIT */
/* An engine on the fakes, for one test. */
#pragma once

#include <stdbool.h>

#include "fakes/calls.h"
#include "fakes/world.h"
#include "volume/engine.h"
#include "volume/mounting.h"

struct fixture {
    struct settings settings;
    struct volumes *engine;
    char dir[64]; /* its state and mountpoints */
    char paths[4][96];
    unsigned fds; /* that were open before */
};

/* Resets the world and fills in settings; the engine is not started. */
void fixture_init(struct fixture *f);

/* Starts the engine and waits until it has looked at what is here, and the collector has done its first
 * round. */
void fixture_start(struct fixture *f);

/* Both. */
void fixture_setup(struct fixture *f);

/* Stops the engine; the world stays. */
void fixture_stop(struct fixture *f);

/* Stops it, when it runs, and removes its directory; fails when a place, a descriptor or a helper was not
 * given back. */
void fixture_teardown(struct fixture *f);

/* Stops it, when it runs, and removes its directory. */
void fixture_remove(struct fixture *f);

/* cmocka's setup and teardown of one test: *state is a fixture with a running engine. */
int fixture_test_setup(void **state);
int fixture_test_teardown(void **state);

/* Waits until nobody works on any volume. */
void fixture_settle(struct fixture *f);

/* Waits until all that was removed for good is deleted. */
void fixture_wait_purged(struct fixture *f);

/* The volume in pool "rbd", NULL: the engine does not know it. Release it with registry_release. */
struct volume *fixture_volume(struct fixture *f, const char *image);
/* Waits until the engine has forgotten the volume; others refer to it for an instant now and then. */
bool fixture_forgotten(struct fixture *f, const char *image);
enum rung fixture_rung(struct fixture *f, const char *image);
size_t fixture_holders(struct fixture *f, const char *image);

/* Waits until the volume is as wanted, or forgotten. Polls: not all of its changes are made known. */
void fixture_wait(struct fixture *f, const char *image, bool (*is)(const struct volume *v, unsigned n),
                  unsigned n);
void fixture_wait_holders(struct fixture *f, const char *image, unsigned n);

/* A retry that is due later is due now; the keeper sees it at its next tick. */
void fixture_retry_now(struct fixture *f, const char *image);

/* Mount and Unmount with a deadline of ten seconds; a mount's answer is delivered. The results are the
 * engine's. */
int fixture_mount(struct fixture *f, const char *name, const char *id, struct error *err);
int fixture_unmount(struct fixture *f, const char *name, const char *id, struct error *err);

/* MOUNT-ROOT/rbd/IMAGE. Static storage of the thread. */
const char *fixture_mountpoint(struct fixture *f, const char *image);

/* Waits until nobody works on it: it is down, nobody holds it, and the engine forgets it. */
void fixture_expect_down(struct fixture *f, const char *image);

/* What the trace says, then clears it. Fails with both when it is not this. */
void fixture_expect_trace(const char *expected);

/* Another thread's call, and what it returned. */
struct parallel {
    pthread_t thread;
    struct fixture *fixture;
    const char *name, *id;
    bool unmount;
    int rc;
    struct error err;
};
void fixture_begin(struct parallel *p, struct fixture *f, bool unmount, const char *name, const char *id);
int fixture_end(struct parallel *p);
