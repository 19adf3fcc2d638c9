/* SPDX-License-Identifier: MIT */
/* Asks a server the same thing all the time: asker SOCKET CLIENTS MS PATH BODY. With "200n" for MS it asks
 * 200 times in all. One connection per request, as dockerd's client has with "Connection: close". Prints
 * requests per second, the median and the 99th percentile in ms, and how many replies were not a 200. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 256
#define REPLY_MAX   (8U << 20)

static struct sockaddr_un server = { .sun_family = AF_UNIX };
static char request[4096];
static size_t request_len;
static double end_ms;
static atomic_long left; /* to be asked */

struct asker {
    pthread_t thread;
    double *times;
    size_t n, size;
    unsigned long bad;
};

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* 0: it was answered with a 200. */
static int ask(char *buffer)
{
    size_t got = 0;
    ssize_t n = -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&server, sizeof server) == 0 &&
        send(fd, request, request_len, MSG_NOSIGNAL) == (ssize_t)request_len)
        while (got < REPLY_MAX && (n = recv(fd, buffer + got, REPLY_MAX - got, 0)) > 0)
            got += (size_t)n;
    (void)close(fd);
    return n == 0 && got > 12 && memcmp(buffer + 8, " 200", 4) == 0 ? 0 : -1;
}

static void *work(void *arg)
{
    struct asker *a = arg;
    char *buffer = malloc(REPLY_MAX);
    for (double begin; (begin = now_ms()) < end_ms && atomic_fetch_sub(&left, 1) > 0;) {
        if (ask(buffer) < 0)
            a->bad++;
        if (a->n == a->size)
            a->times = realloc(a->times, (a->size = a->size * 2 + 1024) * sizeof *a->times);
        a->times[a->n++] = now_ms() - begin;
    }
    free(buffer);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const struct asker *askers, int clients, double ms)
{
    size_t n = 0;
    unsigned long bad = 0;
    for (int i = 0; i < clients; i++) {
        n += askers[i].n;
        bad += askers[i].bad;
    }
    double *all = malloc((n + 1) * sizeof *all), *p = all;
    for (int i = 0; i < clients; i++)
        for (size_t k = 0; k < askers[i].n; k++)
            *p++ = askers[i].times[k];
    qsort(all, n, sizeof *all, compare);
    (void)printf("%.1f %.4f %.4f %lu\n", (double)n * 1e3 / ms, all[n / 2], all[n * 99 / 100], bad);
    free(all);
}

int main(int argc, char **argv)
{
    static struct asker askers[CLIENTS_MAX];
    int clients = argc == 6 ? atoi(argv[2]) : 0;
    if (clients < 1 || clients > CLIENTS_MAX || strlen(argv[1]) >= sizeof server.sun_path) {
        (void)fprintf(stderr, "asker SOCKET CLIENTS MS PATH BODY\n");
        return 2;
    }
    (void)strcpy(server.sun_path, argv[1]);
    request_len = (size_t)snprintf(
        request, sizeof request,
        "POST %s HTTP/1.1\r\nHost: \r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        argv[4], strlen(argv[5]), argv[5]);
    if (request_len >= sizeof request)
        return 2;
    double begin = now_ms();
    bool counted = strchr(argv[3], 'n') != NULL;
    atomic_store(&left, counted ? atol(argv[3]) : LONG_MAX);
    end_ms = counted ? 1e300 : begin + atof(argv[3]);
    for (int i = 0; i < clients; i++)
        if (pthread_create(&askers[i].thread, NULL, work, &askers[i]) != 0)
            return 1;
    for (int i = 0; i < clients; i++)
        (void)pthread_join(askers[i].thread, NULL);
    print(askers, clients, now_ms() - begin);
    return 0;
}
