/* SPDX-License-Identifier: MIT */
/* Included by ./check before each file that clang-tidy reads: what the analyzer cannot know of functions in
 * other files. */
#pragma once

#include "base/error.h"

/* They return the code, which is negative: without this, it follows the path on which a failed call looks
 * successful. */
#define error_set(...)    ((void)error_set(__VA_ARGS__), -1)
#define error_prefix(...) ((void)error_prefix(__VA_ARGS__), -1)
