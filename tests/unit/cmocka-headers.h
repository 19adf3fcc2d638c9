/* SPDX-License-Identifier: MIT */
/* cmocka.h with what it forgets to include, in the order that it needs. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
