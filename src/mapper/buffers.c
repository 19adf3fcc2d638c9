/* SPDX-License-Identifier: MIT */
#include "mapper/buffers.h"

#include <stddef.h>
#include <sys/mman.h>

#include "base/cleanup.h"

#define IDLE_MAX 16 /* what a burst may leave behind until the next trim */

struct buffer_link {
    struct buffer_link *next;
};

void buffers_init(struct buffers *b)
{
    *b = (struct buffers){ .idle = NULL };
    pthread_mutex_init(&b->lock, NULL);
}

static struct buffer_link *pop(struct buffers *b)
{
    struct buffer_link *first = b->idle;
    if (!first)
        return NULL;
    b->idle = first->next;
    b->nidle--;
    if (b->nidle < b->least)
        b->least = b->nidle;
    return first;
}

char *buffers_take(struct buffers *b)
{
    {
        LOCK_SCOPE(&b->lock);
        struct buffer_link *first = pop(b);
        if (first)
            return (char *)first;
    }
    void *fresh = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return fresh == MAP_FAILED ? NULL : fresh;
}

void buffers_give(struct buffers *b, char *buffer)
{
    if (!buffer)
        return;
    {
        LOCK_SCOPE(&b->lock);
        if (b->nidle < IDLE_MAX) {
            struct buffer_link *link = (void *)buffer;
            link->next = b->idle;
            b->idle = link;
            b->nidle++;
            return;
        }
    }
    (void)munmap(buffer, BUFFER_SIZE);
}

void buffers_trim(struct buffers *b)
{
    LOCK_SCOPE(&b->lock);
    for (unsigned n = b->least; n > 0; n--) {
        struct buffer_link *first = pop(b);
        if (first)
            (void)munmap(first, BUFFER_SIZE);
    }
    b->least = b->nidle;
}
