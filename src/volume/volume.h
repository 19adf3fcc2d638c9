/* SPDX-License-Identifier: MIT */
/* One volume on this host: how far it is mapped and mounted, who holds it, and who works on it. */
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "ceph/image.h"
#include "ceph/owner.h"
#include "host/device.h"
#include "host/mapper.h"
#include "volume/holders.h"
#include "volume/spec.h"

/* The ladder. The rung is the state: Mount climbs, Unmount descends, recovery sets it by looking. */
enum rung {
    RUNG_DETACHED,
    RUNG_CLAIMED, /* the control lock is held; the image is free, and fit to be mounted */
    RUNG_MAPPED,  /* the mapping client holds the managed lock; the owner record is written */
    RUNG_CHECKED, /* a helper process holds the device open; the file system is there and clean */
    RUNG_MOUNTED,
};

/* What Get, List and status tell of a volume without asking the cluster. */
struct volume_facts {
    uint64_t size;
    uint64_t features;
    time_t created;
    char fstype[16];
    char mount_options[SPEC_OPTIONS_MAX + 1];
    enum sharing sharing;
    char device[32];
    char mapper[8];
    char remove[8];       /* "": the host's policy */
    bool frozen;          /* by a snapshot that is being made: a later daemon thaws it */
    char mapper_why[240]; /* of `auto`: why it is not one before it; "" after a restart */
};

/* How a volume was lost. */
struct volume_loss {
    time_t at;
    char why[256];
    char now[400]; /* who has it now, a sentence part; "": was not asked yet */
    bool asked;    /* and the cluster has answered, the last time */
    moment ask_at; /* not before then again */
};

/* What was not answered in time, and is taken back (reversal.h). */
enum owed { OWED_NOTHING, OWED_CREATE, OWED_RENAME, OWED_TRASH };

struct reversal {
    enum owed what;
    char id[IMAGE_ID_LEN + 1];
    char temp[NAME_PART_MAX + 1], final[NAME_PART_MAX + 1]; /* the names before and after */
    unsigned tries;                                         /* that failed although they were answered */
};

/* What free space is given back (trim.h). */
struct volume_trim {
    uint32_t run; /* which: the last that began; 0: none has */
    bool going;
    uint64_t bytes;   /* of one that ended */
    struct error end; /* how it did */
};

struct volume {
    struct image_name name; /* full; never changes */
    struct volume *next;    /* the registry's list; its lock guards these two */
    unsigned refs;

    pthread_mutex_t lock;   /* short: guards what follows, never held over I/O or a call to the cluster (the
                               state file, in   memory on a tmpfs, is the exception) */
    pthread_cond_t changed; /* any of what follows */
    const char *busy;       /* the gate: what is being done ("mounting"), or NULL */
    moment busy_since;
    bool driven; /* a thread is bringing the volume to where its holders want it */
    struct holders holders;
    enum rung rung; /* written by who has the gate */
    bool known;     /* facts are filled in */
    struct volume_facts facts;
    unsigned failures;    /* climbs that failed, counted */
    struct error failure; /* why the last of them did */
    struct error trouble; /* what keeps it from where its holders want it; code 0: nothing */
    moment retry_at;      /* of a descent that failed; 0: none is due */
    unsigned retries;
    bool redo; /* adopted at start: goes all the way down before it goes up, since the image has not been read
                */
    bool lost; /* the mapping was fenced or ended under us, and nobody has it mounted again yet (lost.h) */
    bool unmapping;          /* the mapping is being ended by us: that is no loss */
    bool reviving;           /* it was lost, and climbs again */
    struct volume_loss loss; /* of both */
    moment orphaned;         /* since when its device waits for a process in place of one that ended; 0 */
    moment stuck_since;      /* none of the I/O in flight has been answered since, longer than io-stuck; 0 */
    struct reversal owed;    /* written by who has the gate */
    char *saved;             /* what the state file says; NULL: there is none, or it is not known */
    struct volume_trim trim;
    unsigned unowned; /* how often in a row its lock was not its client's (ownercheck.h) */
    bool asking;      /* whose its lock is, which has not been answered yet */

    /* Below: for who has the gate only. */
    char image_id[IMAGE_ID_LEN + 1];
    bool growing;  /* its header had the mark of content_check when it was claimed */
    bool has_spec; /* the image carries rbdvol.spec; otherwise spec is this host's defaults */
    struct spec spec;
    struct ctl ctl;
    struct mapping mapping;    /* from RUNG_MAPPED on */
    struct mapper_early early; /* started on its way up to RUNG_MAPPED */
    struct mapping leaving;    /* has let go of its image, and is ending; mapper NULL: none */
    bool unsettled;            /* its owner record, or a last look at its name, is missing yet */
    bool unopened;             /* the mapping is new: nobody can have put a loop device on its file yet */
    bool full;                 /* its file system fills the image, and need not grow once it is mounted */
    struct device *device;     /* on its way up from RUNG_MAPPED on, until it is mounted; NULL: none */
    struct device_node node;
    time_t
        hindered; /* when other hosts were told what keeps the volume here (hindrance.h); 0: they were not */
};

struct volume *volume_new(const struct image_name *name);
void volume_free(struct volume *v);

/* Enters the gate, waiting until the deadline while somebody else is in it. -EBUSY: "mounting it for 3 min;
 * try again". */
int volume_gate_enter(struct volume *v, const char *what, moment deadline, struct error *err);
void volume_gate_leave(struct volume *v);

/* What the gate's owner is at now; for messages and status. what is a static string. */
void volume_says(struct volume *v, const char *what);

/* "detached", "mapped", "mounted", "lost", ... for status. With the lock held. */
const char *volume_state(const struct volume *v);

/* "mounting it for 3 min": what goes on, for a caller whose time is over. With the lock held. Returns buf. */
const char *volume_doing(const struct volume *v, char *buf, size_t size);
