/* SPDX-License-Identifier: MIT */
/* pthread_create as a call that can be told to fail ("thread"). Only for the tests that link it. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fakes/calls.h"

typedef int create_fn(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    create_fn *real;
    void *found = dlsym(RTLD_NEXT, "pthread_create");
    if (!found)
        abort();
    memcpy(&real, &found, sizeof real);
    int rc = fake_call("thread", "", NULL);
    return rc < 0 ? -rc : real(thread, attr, run, arg);
}
