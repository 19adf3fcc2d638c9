/* SPDX-License-Identifier: MIT */
/* A volume whose mapping is no longer ours: fenced, its lock gone, or its process ended. All its I/O fails,
 * for good. What is left of it here goes down by the ladder as far as those who still use it allow; its
 * holders stay on record until their Unmount, since their containers may still run. It is mounted again, by a
 * new client, only when somebody asks for that; a climb for that which fails leaves it lost, as it was. */
#pragma once

#include "volume/engine.h"

/* The mapping is lost; the first reason stays. The caller kicks the drive. With the volume's lock held. */
void lost_mark(struct volumes *e, struct volume *v, const char *why);

/* Is somebody waiting for it to be mounted again? With the volume's lock held. */
bool lost_is_wanted(const struct volume *v);

/* Everything of the old mapping is gone, and it is wanted: it may climb. With the volume's lock held. */
void lost_revive(struct volume *v);

/* The climb is over. mounted: it is a volume like any other again; otherwise it is lost as before. With the
 * volume's lock held. */
void lost_revived(struct volume *v, bool mounted);

/* Is it time to ask (again) who has the volume now? With the volume's lock held. */
bool lost_is_to_be_asked(const struct volume *v);

/* Asks the cluster who has the volume now, for status and the log. Who is at the volume's gate calls it.
 * Could not ask: that is said instead, and it is tried again soon. */
void lost_ask(struct volumes *e, struct volume *v);

/* Has somebody still got the old device, whose file system dies with its last user? -EBUSY: who (for people).
 * Waits a moment for what the kernel lets go of by itself. For who has the gate; the mount is down. */
int lost_check_unused(struct volumes *e, struct volume *v, moment deadline, struct error *err);

/* "lost 3 min ago: the cluster has fenced ...; host2 has it now": for status and Get. With the volume's lock
 * held. Returns buf. */
const char *lost_text(const struct volume *v, char *buf, size_t size);
