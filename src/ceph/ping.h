/* SPDX-License-Identifier: MIT */
/* Does the owner of an image's managed lock still answer? Asks with an empty notification on the header
 * object, which takes nothing and changes nothing: librbd and krbd acknowledge it in a millisecond, in 30
 * when they are saturated with writes (16.2.15). */
#pragma once

#include "ceph/imagelock.h"

/* 1: the owner answered; 0: it did not for `seconds`. Others: could not ask. The answer of a living owner
 * comes at once, unless another watcher is dead, for which the cluster waits. */
int ping_owner(const struct place *p, const char *id, const struct lock_holder *owner, unsigned seconds,
               struct error *err);

/* Is the owner silent while the cluster is quick? Two pings, of 3/5 and 2/5 of silence_ms (whole seconds, one
 * at least), with a watch of our own on the object as the control. 1: it answered; 0: it is silent, and our
 * own watch acknowledged each ping within a second; -EAGAIN: our own did not, so the cluster is slow and this
 * proves nothing; others: could not ask. */
int ping_silence(const struct place *p, const char *id, const struct lock_holder *owner, int64_t silence_ms,
                 struct error *err);
