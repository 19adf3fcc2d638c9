/* SPDX-License-Identifier: MIT */
/* Linked into the programs of sanitizer builds only: where reports go. The helpers have no standard error and
 * an environment of two variables, so the options stand in the program. */

/* The runtime calls these by name. */
const char *__asan_default_options(void);  /* NOLINT */
const char *__ubsan_default_options(void); /* NOLINT */
const char *__tsan_default_options(void);  /* NOLINT */

/* Leaks are looked for in the unit tests: LeakSanitizer must trace its own process, and the programs forbid
 * that. Divisions by zero are UBSan's: librbd makes one, and so ends its mapper, when the header of an image
 * lies about its stripes (test_hostile_objects). Where a test preloads a clock, that comes first. */
const char *__asan_default_options(void)
{
    return "log_path=" SAN_REPORTS
           "/asan:detect_leaks=0:abort_on_error=0:detect_stack_use_after_return=0:handle_sigfpe=0"
           ":verify_asan_link_order=0";
}

const char *__ubsan_default_options(void)
{
    return "log_path=" SAN_REPORTS "/ubsan:print_stacktrace=1";
}

const char *__tsan_default_options(void)
{
    return "log_path=" SAN_REPORTS "/tsan:suppressions=" SAN_SUPPRESSIONS
           ":ignore_noninstrumented_modules=1:history_size=4";
}
