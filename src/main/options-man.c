/* SPDX-License-Identifier: MIT */
/* Build-time: copies the source of rbdvol.conf(5) to standard output, with the option table in place of its
 * @OPTIONS@ line. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "main/options.h"

/* scdoc takes '_' and '*' for emphasis, '\' for an escape. */
static void print_escaped(const char *text)
{
    for (; *text; text++) {
        if (strchr("_*\\", *text))
            (void)putchar('\\');
        (void)putchar(*text == '`' ? '"' : *text);
    }
}

static void print_option(const struct option_row *o)
{
    (void)printf("*%s* = _", o->name);
    print_escaped(o->value);
    (void)printf("_\n\t%c", toupper((unsigned char)o->meaning[0]));
    print_escaped(o->meaning + 1);
    (void)printf(".++\nDefault: ");
    print_escaped(*o->preset ? o->preset : o->none);
    (void)printf(".");
    (void)printf("\n\n");
}

static void print_line(const char *line)
{
    for (const char *dir; (dir = strstr(line, "@SYSCONFDIR@")) != NULL; line = dir + strlen("@SYSCONFDIR@"))
        (void)printf("%.*s%s", (int)(dir - line), line, RBDVOL_SYSCONFDIR);
    (void)fputs(line, stdout);
}

int main(int argc, char **argv)
{
    char line[1024];
    FILE *in = argc == 2 ? fopen(argv[1], "re") : NULL;
    if (!in) {
        (void)fprintf(stderr, "usage: options-man rbdvol.conf.5.scd.in\n");
        return 2;
    }
    while (fgets(line, sizeof line, in)) {
        if (strcmp(line, "@OPTIONS@\n") != 0)
            print_line(line);
        else
            for (size_t i = 0; i < options_count; i++)
                print_option(&options[i]);
    }
    (void)fclose(in);
    return ferror(stdout) || fflush(stdout) != 0;
}
