/* SPDX-License-Identifier: MIT */
/* What libFuzzer calls, and replay.c without it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
