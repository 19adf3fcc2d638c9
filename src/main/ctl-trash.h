/* SPDX-License-Identifier: MIT */
/* The commands about what volumes no longer use, and about those that were removed. Each returns the exit
 * status. */
#pragma once

#include "main/call.h"

int ctl_trash(struct call *c);
int ctl_trim(struct call *c);
