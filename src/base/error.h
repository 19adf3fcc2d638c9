/* SPDX-License-Identifier: MIT */
/* What went wrong, for two readers: `code` for the program, `msg` for the user. */
#pragma once

/* Lives on the stack of the request (or of main): never allocated, never shared between threads.
 *
 * Every function that takes one returns 0 (or a documented positive value) and leaves it untouched,
 * or returns a negative errno and has filled it in.
 *
 * Codes that callers decide by, throughout the program:
 *   -ENOENT     the cluster was asked and said that the image does not exist. Nothing else may use it:
 *               Docker forgets a volume on this answer (a missing pool is -ENODEV).
 *   -EINVAL     what the caller asked for can never work as it stands (a bad name, a bad option)
 *   -EBUSY      somebody else uses it; the message says who
 *   -EEXIST     it is there already, and differs from what was asked for
 *   -ETIMEDOUT, -ENOTCONN, -ENODEV, -EPERM, -EIO: could not ask, or the outcome is unknown */
struct error {
    int code;      /* 0, or a negative errno */
    char msg[480]; /* one line, no newline at its end, no secrets */
};

/* Both return the code, so that `return error_set(err, -ENOENT, ...)` reads well. A message that is too
 * long ends in "...". Control characters in it, and what is not UTF-8,
 * become '?': nothing a client sent can forge a log line or make an answer that is no JSON. err->msg must not
 * be among the arguments. */
int error_set(struct error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* "<text>: <what was there>"; the code stays. */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The text of an errno, given as a positive or negative number; thread-safe, static storage. */
const char *error_text(int code);
