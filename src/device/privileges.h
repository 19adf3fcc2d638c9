/* SPDX-License-Identifier: MIT */
#pragma once

/* Gives up for good what the helper does not need: all capabilities but those of mounting, of loop devices
 * and of running mkfs as nobody. Best effort: one that we lack already is no failure. */
void privileges_drop(void);
