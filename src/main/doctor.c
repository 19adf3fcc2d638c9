/* SPDX-License-Identifier: MIT */
#include "main/doctor.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_PROBLEM 1

static void check_options(const struct settings *s, struct findings *f, const char *file)
{
    findings_add(f, FINDING_OK, "configuration", "", "instance '%s', %s%s", s->name,
                 *file ? "from " : "no file", file);
    if (strcmp(s->user, "admin") == 0)
        findings_add(f, FINDING_WARNING, "user",
                     "make a user of its own: ceph auth get-or-create client.rbdvol mon 'profile rbd' osd "
                     "'profile rbd pool=rbd'",
                     "rbdvol uses client.admin, which may do anything to the cluster");
}

/* Takes --json out of argv; the rest is as for `serve`. */
static bool take_json(int *argc, char **argv)
{
    bool json = false;
    int n = 0;
    for (int i = 0; i < *argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else
            argv[n++] = argv[i];
    *argc = n;
    return json;
}

int doctor_main(int argc, char **argv)
{
    struct config config;
    struct findings f;
    struct error err;
    bool json = take_json(&argc, argv);
    findings_init(&f);
    if (config_load(argc, (const char *const *)argv, (const char *const *)environ, &config, &err) < 0) {
        findings_add(&f, FINDING_PROBLEM, "configuration", "correct that line or flag", "%s", err.msg);
    } else {
        check_options(&config.settings, &f, config.file);
        doctor_host(&config.settings, &f);
        doctor_ceph(&config.settings, &f);
        doctor_docker(&config.settings, &f);
        config_free(&config);
    }
    if (json) {
        (void)json_dumpf(f.list, stdout, JSON_INDENT(2));
        (void)fputc('\n', stdout);
    } else {
        findings_print(&f, stdout);
    }
    int rc = f.problems ? EXIT_PROBLEM : 0;
    findings_done(&f);
    return rc;
}
