/* SPDX-License-Identifier: MIT */
#include "api/metrics.h"

#include <ctype.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/procs.h"
#include "volume/engine.h"

#define OPS_MAX  32
#define OP_LEN   16
#define NRESULTS (METRICS_UNANSWERED + 1)

/* Seconds: an answer from memory, one step at the cluster, a mount, a wait for another host's death, the
 * budget. */
static const double bounds[] = { 0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120 };
#define NBOUNDS (sizeof bounds / sizeof *bounds)

static const char *const results[NRESULTS] = { "ok", "absent", "error", "malformed", "unanswered" };

struct op {
    char name[OP_LEN];
    uint64_t by_result[NRESULTS];
    uint64_t within[NBOUNDS]; /* not added up */
    uint64_t count, us;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows; a leaf */
/* Those that an alert may name are there before they happen: a counter that appears with 1 has not increased.
 */
static struct op ops[OPS_MAX] = { { .name = "create" },  { .name = "remove" }, { .name = "mount" },
                                  { .name = "unmount" }, { .name = "get" },    { .name = "list" } };
static size_t nops = 6;

/* "mount" of /VolumeDriver.Mount, "snap-create" of /Rbdvol.Snap.Create. */
static struct op *op_of(const char *path)
{
    char name[OP_LEN];
    const char *dot = strchr(path, '.');
    size_t n = 0;
    for (const char *p = dot ? dot + 1 : path; *p && n < sizeof name - 1; p++)
        name[n++] = *p == '.' ? '-' : (char)tolower((unsigned char)*p);
    name[n] = '\0';
    for (size_t i = 0; i < nops; i++)
        if (strcmp(ops[i].name, name) == 0)
            return &ops[i];
    if (nops == OPS_MAX)
        return NULL;
    memcpy(ops[nops].name, name, sizeof name);
    return &ops[nops++];
}

void metrics_count(const char *path, enum metrics_result result, int64_t us)
{
    LOCK_SCOPE(&lock);
    struct op *op = op_of(path);
    if (!op)
        return;
    op->by_result[result]++;
    op->count++;
    op->us += (uint64_t)us;
    for (size_t i = 0; i < NBOUNDS; i++)
        if ((double)us / 1e6 <= bounds[i]) {
            op->within[i]++;
            break;
        }
}

static void family(FILE *f, const char *name, const char *type, const char *help)
{
    (void)fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(FILE *f, const char *name, const char *help, double value)
{
    family(f, name, "gauge", help);
    (void)fprintf(f, "%s %.15g\n", name, value);
}

static void print_ops(FILE *f)
{
    LOCK_SCOPE(&lock);
    family(f, "rbdvol_operations_total", "counter", "Requests answered, by operation and result.");
    for (size_t i = 0; i < nops; i++)
        for (size_t r = 0; r < NRESULTS; r++)
            (void)fprintf(f, "rbdvol_operations_total{op=\"%s\",result=\"%s\"} %llu\n", ops[i].name,
                          results[r], (unsigned long long)ops[i].by_result[r]);
    family(f, "rbdvol_operation_seconds", "histogram", "How long requests took.");
    for (size_t i = 0; i < nops; i++) {
        uint64_t sum = 0;
        for (size_t b = 0; b < NBOUNDS; b++) {
            sum += ops[i].within[b];
            (void)fprintf(f, "rbdvol_operation_seconds_bucket{op=\"%s\",le=\"%g\"} %llu\n", ops[i].name,
                          bounds[b], (unsigned long long)sum);
        }
        (void)fprintf(f,
                      "rbdvol_operation_seconds_bucket{op=\"%s\",le=\"+Inf\"} %llu\n"
                      "rbdvol_operation_seconds_sum{op=\"%s\"} %.6f\n"
                      "rbdvol_operation_seconds_count{op=\"%s\"} %llu\n",
                      ops[i].name, (unsigned long long)ops[i].count, ops[i].name, (double)ops[i].us / 1e6,
                      ops[i].name, (unsigned long long)ops[i].count);
    }
}

/* What is told of one volume. Its name needs no escapes: the grammar of names has nothing to escape. */
struct sample {
    char name[IMAGE_NAME_MAX + 1];
    bool mounted, lost, stuck, pending;
    unsigned holders;
    uint64_t size;
    double busy; /* seconds */
};

/* False: this host has nothing to do with it just now. */
static bool sample_take(struct volume *v, struct sample *s)
{
    LOCK_SCOPE(&v->lock);
    *s = (struct sample){ .mounted = v->rung == RUNG_MOUNTED && !v->lost,
                          .lost = v->lost && v->holders.n > 0,
                          .stuck = v->stuck_since != 0,
                          .pending = v->holders.n == 0 && v->trouble.code < 0,
                          .holders = (unsigned)v->holders.n,
                          .size = v->known ? v->facts.size : 0,
                          .busy = v->busy ? (double)clock_since_ms(v->busy_since) / 1000 : 0 };
    (void)image_name_full(&v->name, s->name);
    return v->rung != RUNG_DETACHED || v->holders.n > 0 || v->busy || s->pending;
}

/* A fresh array, to be freed. */
static struct sample *samples_take(struct volumes *volumes, size_t *ret)
{
    size_t n, taken = 0;
    struct volume **all = registry_all(&volumes->registry, &n);
    struct sample *samples = calloc(n ? n : 1, sizeof *samples);
    if (!samples)
        abort();
    for (size_t i = 0; i < n; i++) {
        taken += sample_take(all[i], &samples[taken]);
        registry_release(&volumes->registry, all[i]);
    }
    free(all);
    *ret = taken;
    return samples;
}

static double value_of(const struct sample *s, int which)
{
    const double values[] = {
        s->mounted, s->lost, s->stuck, s->pending, s->holders, (double)s->size, s->busy
    };
    return values[which];
}

static void print_volumes(FILE *f, struct volumes *volumes)
{
    /* in the order of value_of() */
    static const struct {
        const char *sum, *sum_help, *each, *each_help;
    } families[] = {
        { "rbdvol_volumes_mounted", "Volumes mounted on this host.", "rbdvol_volume_mounted",
          "Whether the volume is mounted on this host." },
        { "rbdvol_volumes_lost", "Volumes held on this host whose mapping was fenced or has ended.",
          "rbdvol_volume_lost", "Whether the volume is held here, and its mapping was fenced or has ended." },
        { "rbdvol_volumes_stuck", "Volumes none of whose I/O was answered for longer than io-stuck.",
          "rbdvol_io_stuck", "Whether none of the volume's I/O was answered for longer than io-stuck." },
        { "rbdvol_pending_cleanups", "Volumes that nobody holds any more and that cannot be let go yet.",
          "rbdvol_volume_pending", "Whether nobody holds the volume any more and it cannot be let go yet." },
        { NULL, NULL, "rbdvol_volume_holders",
          "Containers (and callers) that hold the volume on this host." },
        { NULL, NULL, "rbdvol_volume_size_bytes", "Size of the volume's image." },
        { NULL, NULL, "rbdvol_volume_busy_seconds",
          "How long the step that goes on with the volume has taken; 0: none." },
    };
    size_t n;
    struct sample *samples = samples_take(volumes, &n);
    for (int i = 0; i < (int)(sizeof families / sizeof *families); i++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += value_of(&samples[k], i);
        if (families[i].sum)
            gauge(f, families[i].sum, families[i].sum_help, sum);
        family(f, families[i].each, "gauge", families[i].each_help);
        for (size_t k = 0; k < n; k++)
            (void)fprintf(f, "%s{volume=\"%s\"} %.15g\n", families[i].each, samples[k].name,
                          value_of(&samples[k], i));
    }
    free(samples);
}

static void print_cluster(FILE *f, struct volumes *volumes)
{
    struct cluster_status s;
    cluster_status(volumes->cluster, &s);
    gauge(f, "rbdvol_cluster_up", "Whether the cluster answered the last probe.", s.state == CLUSTER_UP);
    gauge(f, "rbdvol_cluster_state_since_seconds", "Since when that is so, as seconds since 1970.",
          (double)s.since);
    gauge(f, "rbdvol_fencing_allowed",
          "Whether the key may fence dead hosts; without it nothing is taken over.", s.no_fencing[0] == '\0');
    family(f, "rbdvol_hidden_images", "gauge",
           "Images that a listing leaves out, since no volume may be called so.");
    LOCK_SCOPE(&volumes->lock);
    for (unsigned i = 0; i < volumes->settings->npools && i < POOLS_MAX; i++)
        (void)fprintf(f, "rbdvol_hidden_images{pool=\"%s\"} %u\n", volumes->settings->pools[i],
                      volumes->hidden[i].n);
}

/* The names that client libraries give these. */
static void print_process(FILE *f)
{
    uint64_t ticks;
    struct timespec real, boot;
    unsigned long pages = 0, resident = 0;
    unsigned fds = 0;
    if (procs_start_time(getpid(), &ticks) == 0 && clock_gettime(CLOCK_REALTIME, &real) == 0 &&
        clock_gettime(CLOCK_BOOTTIME, &boot) == 0)
        gauge(f, "process_start_time_seconds", "When the daemon started, as seconds since 1970.",
              (double)(real.tv_sec - boot.tv_sec) + (double)ticks / (double)sysconf(_SC_CLK_TCK));
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm && fscanf(statm, "%lu %lu", &pages, &resident) == 2)
        gauge(f, "process_resident_memory_bytes", "Memory of the daemon, without its mappers.",
              (double)resident * (double)sysconf(_SC_PAGESIZE));
    if (statm)
        (void)fclose(statm);
    auto_dir DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        fds++;
    gauge(f, "process_open_fds", "Open descriptors of the daemon.", fds);
}

char *metrics_page(struct volumes *volumes)
{
    char *body = NULL;
    size_t size;
    FILE *f = open_memstream(&body, &size);
    if (!f)
        abort();
    family(f, "rbdvol_build_info", "gauge", "The version and the instance, as labels.");
    (void)fprintf(f, "rbdvol_build_info{version=\"%s\",instance=\"%s\"} 1\n", RBDVOL_VERSION,
                  volumes->settings->name);
    print_cluster(f, volumes);
    print_volumes(f, volumes);
    print_ops(f);
    print_process(f);
    if (fclose(f) != 0)
        abort();
    return body;
}
