/* SPDX-License-Identifier: MIT */
/* Who uses a volume on this host: a count per mount ID, and one flag for callers that send no ID. Not
 * thread-safe: the volume's short lock guards it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/error.h"

#define HOLDER_ID_MAX 128

/* Whoever uses a volume that was found mounted and in use without a state file. Ends by an Unmount of any ID,
 * or when nobody uses the volume and somebody else wants it. */
#define HOLDER_UNKNOWN "unknown"

struct holder {
    char id[HOLDER_ID_MAX + 1]; /* "": the flag of callers without an ID (dvdcli: N mounts, one unmount) */
    unsigned count;   /* Docker mounts and unmounts with a running container's own ID for docker cp */
    unsigned pending; /* so many of the count have not been answered yet: they go if the mount fails */
    unsigned lapsed;  /* so many are of a caller that is gone: they go when a later one has its answer */
    time_t since;     /* for people */
    int64_t begun;    /* the same by clock_boot_s(), to count from */
    pid_t peer;       /* the caller's process; 0: unknown, which is never "gone" */
    uint64_t peer_start;
};

struct holders {
    struct holder *all;
    size_t n;
};

void holders_done(struct holders *h);

/* Is this an acceptable mount ID? Printable, at most 128 bytes. -EINVAL. */
int holders_check_id(const char *id, struct error *err);

/* NULL: none. */
struct holder *holders_find(const struct holders *h, const char *id);

/* May a caller with this ID hold the volume beside those who do? shared: sharing=host. -EBUSY names the one
 * that is there, since when, and both ways out. */
int holders_admit(const struct holders *h, const char *id, bool shared, struct error *err);

/* One more of this ID, not answered yet. For an ID whose recorded caller is gone the count starts anew
 * (Docker was killed and mounts again under the same ID: seen with 20.10), once the answer has arrived:
 * until then the holder can become again what it was. Callers without an ID are always gone. */
void holders_add(struct holders *h, const char *id, pid_t peer, uint64_t peer_start, bool peer_gone);

/* The volume was found in use: by HOLDER_UNKNOWN. */
void holders_add_unknown(struct holders *h);

/* Is somebody waiting for an answer? */
bool holders_pending(const struct holders *h);

/* The answer is being sent: one pending count of this ID becomes a plain one. */
void holders_confirm(struct holders *h, const char *id);

/* The answer has arrived: what lapsed goes; true if anything did. */
bool holders_delivered(struct holders *h, const char *id);

/* It has not: the count that was confirmed is taken back. */
void holders_undelivered(struct holders *h, const char *id);

/* Takes one unanswered count of this ID back; the holder goes with its last. */
void holders_retract(struct holders *h, const char *id);

/* Takes every unanswered count back: the mount failed. */
void holders_retract_all(struct holders *h);

/* Unmount: one count less; of callers without an ID all that have been answered (N mounts, one unmount).
 * Returns false when this ID is not known. */
bool holders_release(struct holders *h, const char *id);

/* As [{"ID","Count","Since"}], for people and for the state file (which adds Pending, Peer and PeerStart). */
json_t *holders_json(const struct holders *h, bool for_state);

/* Reads what the state file holds; unanswered counts are dropped (their caller was cut off with the daemon).
 */
void holders_load(struct holders *h, const json_t *list);
