/* SPDX-License-Identifier: MIT */
/* Gives a file system that is a copy of another one an identity of its own. */
#pragma once

#include "host/fs.h"

/* On a device that is not mounted, and was checked. *renewed: false when it cannot be done yet (a log that
 * only a mount replays); then it has to be mounted as the copy that it is. */
int renew_uuid(const struct fs *fs, const char *device, moment deadline, bool *renewed, struct error *err);
