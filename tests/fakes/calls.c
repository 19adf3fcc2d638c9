/* SPDX-License-Identifier: MIT */
#include "fakes/calls.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define RULES_MAX 16
#define NAMES_MAX 96
#define NAME_SIZE 64
#define TRACE_MAX (1 << 16)
#define PATIENCE  20000 /* ms: far beyond what any test takes, also under a sanitizer */

struct rule {
    char call[NAME_SIZE];
    int code;
    unsigned successes;   /* so many succeed first */
    unsigned times, late; /* so many fail at their beginning, at their end */
    bool hold;
    unsigned held;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ready;
    struct rule rules[RULES_MAX];
    struct {
        char name[NAME_SIZE];
        unsigned n;
    } counts[NAMES_MAX];
    unsigned nth; /* 0: none */
    int nth_code;
    bool nth_for_good, nth_failed;
    char failed[2 * NAME_SIZE];
    char trace[TRACE_MAX];
} calls = { .lock = PTHREAD_MUTEX_INITIALIZER };

void fake_calls_reset(void)
{
    LOCK_SCOPE(&calls.lock);
    if (!calls.ready)
        clock_cond_init(&calls.changed);
    calls.ready = true;
    memset(calls.rules, 0, sizeof calls.rules);
    memset(calls.counts, 0, sizeof calls.counts);
    calls.nth = 0;
    calls.nth_failed = false;
    calls.failed[0] = calls.trace[0] = '\0';
}

/* With the lock held, as all that is static here. Abort: the test is wrong. */
static struct rule *rule_for(const char *call)
{
    struct rule *empty = NULL;
    for (size_t i = 0; i < RULES_MAX; i++) {
        if (strcmp(calls.rules[i].call, call) == 0)
            return &calls.rules[i];
        if (!empty && !calls.rules[i].call[0])
            empty = &calls.rules[i];
    }
    if (!empty || strlen(call) >= NAME_SIZE)
        abort();
    (void)snprintf(empty->call, sizeof empty->call, "%s", call);
    return empty;
}

static bool applies(const struct rule *r, const char *call, const char *on)
{
    size_t n = strlen(call);
    return strncmp(r->call, call, n) == 0 &&
           (r->call[n] == '\0' || (r->call[n] == ' ' && strcmp(r->call + n + 1, on) == 0));
}

static unsigned *count_of(const char *call)
{
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (!calls.counts[i].name[0])
            (void)snprintf(calls.counts[i].name, NAME_SIZE, "%s", call);
        if (strcmp(calls.counts[i].name, call) == 0)
            return &calls.counts[i].n;
    }
    abort();
}

void fake_fail(const char *call, int code, unsigned times)
{
    LOCK_SCOPE(&calls.lock);
    struct rule *r = rule_for(call);
    r->code = code;
    r->times = times;
    r->successes = 0;
}

void fake_fail_after(const char *call, unsigned successes, int code, unsigned times)
{
    fake_fail(call, code, times);
    LOCK_SCOPE(&calls.lock);
    rule_for(call)->successes = successes;
}

void fake_fail_late(const char *call, int code)
{
    LOCK_SCOPE(&calls.lock);
    struct rule *r = rule_for(call);
    r->code = code;
    r->late = 1;
}

void fake_fail_nth(unsigned n, int code, bool for_good)
{
    LOCK_SCOPE(&calls.lock);
    calls.nth = n;
    calls.nth_code = code;
    calls.nth_for_good = for_good;
    calls.nth_failed = false;
    calls.failed[0] = '\0';
}

void fake_mend(void)
{
    LOCK_SCOPE(&calls.lock);
    calls.nth = 0;
}

bool fake_nth_failed(void)
{
    LOCK_SCOPE(&calls.lock);
    return calls.nth_failed;
}

const char *fake_failed_call(void)
{
    return calls.failed;
}

void fake_hold(const char *call)
{
    LOCK_SCOPE(&calls.lock);
    rule_for(call)->hold = true;
}

void fake_go(const char *call)
{
    LOCK_SCOPE(&calls.lock);
    rule_for(call)->hold = false;
    pthread_cond_broadcast(&calls.changed);
}

void fake_go_all(void)
{
    LOCK_SCOPE(&calls.lock);
    for (size_t i = 0; i < RULES_MAX; i++)
        calls.rules[i].hold = false;
    if (calls.ready)
        pthread_cond_broadcast(&calls.changed);
}

/* A wait in vain: says for what, and ends the program. */
static void wait_or_die(const char *call)
{
    struct timespec until = clock_spec(clock_in_ms(PATIENCE));
    if (pthread_cond_timedwait(&calls.changed, &calls.lock, &until) == 0)
        return;
    (void)fprintf(stderr, "nobody came to '%s'; trace: %s\n", call, calls.trace);
    abort();
}

void fake_wait_held(const char *call, unsigned n)
{
    LOCK_SCOPE(&calls.lock);
    while (rule_for(call)->held < n)
        wait_or_die(call);
}

void fake_wait_count(const char *call, unsigned n)
{
    LOCK_SCOPE(&calls.lock);
    while (*count_of(call) < n)
        wait_or_die(call);
}

unsigned fake_count(const char *call)
{
    LOCK_SCOPE(&calls.lock);
    return *count_of(call);
}

char *fake_trace(void)
{
    LOCK_SCOPE(&calls.lock);
    char *copy = strdup(calls.trace);
    if (!copy)
        abort();
    return copy;
}

unsigned fake_traced(const char *what)
{
    unsigned n = 0;
    LOCK_SCOPE(&calls.lock);
    for (const char *p = calls.trace; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

void fake_trace_clear(void)
{
    LOCK_SCOPE(&calls.lock);
    calls.trace[0] = '\0';
}

static void wait_while_held(const char *call, const char *on)
{
    for (size_t i = 0; i < RULES_MAX; i++) {
        struct rule *r = &calls.rules[i];
        if (!r->hold || !applies(r, call, on))
            continue;
        r->held++;
        pthread_cond_broadcast(&calls.changed);
        while (r->hold)
            pthread_cond_wait(&calls.changed, &calls.lock);
        r->held--;
    }
}

static int wanted_by_rule(const char *call, const char *on, bool late)
{
    for (size_t i = 0; i < RULES_MAX; i++) {
        struct rule *r = &calls.rules[i];
        unsigned *left = late ? &r->late : &r->times;
        if (*left == 0 || !applies(r, call, on))
            continue;
        if (!late && r->successes) {
            r->successes--;
            continue;
        }
        if (*left != FAKE_FOREVER)
            --*left;
        return r->code;
    }
    return 0;
}

static int wanted_by_number(const char *call, const char *on)
{
    if (calls.nth == 0)
        return 0;
    if (calls.nth > 1) {
        calls.nth--;
        return 0;
    }
    if (!calls.nth_failed)
        (void)snprintf(calls.failed, sizeof calls.failed, "%s %s", call, on);
    calls.nth_failed = true;
    if (!calls.nth_for_good)
        calls.nth = 0;
    return calls.nth_code;
}

static int fail(int code, const char *call, const char *on, struct error *err)
{
    return code && err ? error_set(err, code, "injected failure of %s %s", call, on) : code;
}

int fake_call(const char *call, const char *on, struct error *err)
{
    int code;
    {
        LOCK_SCOPE(&calls.lock);
        ++*count_of(call);
        if (calls.ready)
            pthread_cond_broadcast(&calls.changed);
        wait_while_held(call, on);
        code = wanted_by_rule(call, on, false);
        if (code == 0)
            code = wanted_by_number(call, on);
    }
    return fail(code, call, on, err);
}

int fake_call_end(const char *call, const char *on, struct error *err)
{
    int code;
    {
        LOCK_SCOPE(&calls.lock);
        code = wanted_by_rule(call, on, true);
    }
    return fail(code, call, on, err);
}

void fake_changed(const char *fmt, ...)
{
    static const char temp[] = "rbdvol.new.";
    char item[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(item, sizeof item, fmt, ap);
    va_end(ap);
    char *random = strstr(item, temp);
    if (random) {
        random += strlen(temp);
        char *rest = random + strspn(random, "0123456789abcdef");
        if (rest > random) {
            *random = '*';
            memmove(random + 1, rest, strlen(rest) + 1);
        }
    }
    LOCK_SCOPE(&calls.lock);
    size_t at = strlen(calls.trace);
    if (at + strlen(item) + 3 < TRACE_MAX)
        (void)snprintf(calls.trace + at, TRACE_MAX - at, "%s%s", at ? ", " : "", item);
}
