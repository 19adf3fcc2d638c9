/* SPDX-License-Identifier: MIT */
/* Whether what we mount can be seen outside, and if not, which option of our systemd unit is to blame. */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "volume/settings.h"

/* Can what we mount at mount-root be seen by the host? -EXDEV: no, we are in a mount namespace of our own
 * whose mounts do not go out; the message says what to remove from the unit. */
int sandbox_check_visible(const struct settings *settings, struct error *err);

/* The options of the systemd unit that we run in which give it a mount namespace of its own: "PrivateTmp=,
 * ProtectHome=". "" when systemd cannot be asked, or names none. */
void sandbox_options(char *buf, size_t size);
