/* SPDX-License-Identifier: MIT */
/* Gives up what root can and this program need not. */
#pragma once

#include "base/error.h"

/* Keeps the capabilities that the program uses, in the bounding, permitted and effective sets, and clears the
 * inheritable and ambient ones. Must be called before the first thread: a thread that runs already would keep
 * all it has. One that this host does not grant us is skipped and logged. */
int privileges_drop(struct error *err);
