/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "main/ctl.h"
#include "main/doctor.h"
#include "main/help.h"
#include "main/serve.h"

static int help(int argc, char **argv)
{
    if (argc == 0) {
        help_overview(stdout);
        return 0;
    }
    if (argc == 1 && help_command(argv[0][0] == '-' ? "help" : argv[0], stdout))
        return 0;
    (void)fprintf(stderr, "rbdvol help: there is no command '%s'; 'rbdvol help' lists them\n", argv[0]);
    return 2;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help_overview(stderr);
        return 2;
    }
    const char *command = argv[1];
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0)
        return help(argc - 2, argv + 2);
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return help(1, argv + 1);
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        (void)printf("rbdvol %s\n", RBDVOL_VERSION);
        return 0;
    }
    if (strcmp(command, "serve") == 0)
        return serve_main(argc - 2, argv + 2);
    if (strcmp(command, "doctor") == 0)
        return doctor_main(argc - 2, argv + 2);
    return ctl_main(argc - 1, argv + 1);
}
