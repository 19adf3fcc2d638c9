/* SPDX-License-Identifier: MIT */
/* The commands on a volume's image as a whole. Each returns the exit status. */
#pragma once

#include "main/call.h"

int ctl_resize(struct call *c);
int ctl_snap(struct call *c);
int ctl_clone(struct call *c);
