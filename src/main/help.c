/* SPDX-License-Identifier: MIT */
#include "main/help.h"

#include <string.h>

#include "main/options.h"

static const struct {
    const char *name, *usage, *text, *example;
} commands[] = {
    { "serve", "rbdvol serve [--config=FILE] [--OPTION=VALUE]...",
      "The daemon, in the foreground. It answers Docker at its socket and logs to standard error.\n"
      "An option is a flag (--pool=x), a line of the configuration file (pool = x), or a variable\n"
      "of the environment (RBDVOL_POOL=x); this is also the order of precedence.",
      "rbdvol serve --pool=ssd --log-level=debug" },
    { "ls", "rbdvol ls [--json]",
      "Lists the volumes of all configured pools, and where those of this host are mounted.", "rbdvol ls" },
    { "show", "rbdvol show NAME [--json]",
      "Shows a volume: its image, size, file system, state, owner and holders.", "rbdvol show db-data" },
    { "create", "rbdvol create NAME [-o KEY=VALUE]...",
      "Makes a volume, formatted. One that exists already is fine if the options do not contradict it.\n"
      "Options: size, pool, namespace, fstype, mkfs-options, mount-options, uid, gid, mode, sharing,\n"
      "object-size, features, data-pool, from, ro, encrypt, mapper, qos-iops, qos-bps,\n"
      "remove; see rbdvol-volumes(7).",
      "rbdvol create db-data -o size=50G -o fstype=ext4" },
    { "rm", "rbdvol rm NAME [--delete]",
      "Removes a volume, as the option 'remove' says: into the trash by default. With --delete it is\n"
      "deleted for good, which asks for its name on a terminal.",
      "rbdvol rm db-data" },
    { "path", "rbdvol path NAME", "Prints where a volume is mounted on this host.",
      "ls $(rbdvol path db-data)" },
    { "status", "rbdvol status [--json]",
      "Shows the daemon: the cluster, the mapper, the volumes mounted here, their holders and state, and\n"
      "what is pending and why.",
      "rbdvol status" },
    { "release", "rbdvol release NAME [ID] [--force] [--json]",
      "Drops holders of a volume that Docker has forgotten on this host: without an ID all that are stale "
      "(no\n"
      "container has the volume mounted, and the caller is gone or it is older than ten minutes), with an "
      "ID\n"
      "('-': callers without one) that one. One that is in use needs --force as well.",
      "rbdvol release db-data" },
    { "unlock", "rbdvol unlock NAME [--force] [--json]",
      "Takes the lock of a volume away from an owner that is dead or abandoned, after showing whose it is; "
      "the\n"
      "owner's client is fenced first. One that is alive needs --force, and loses what it has not written.\n"
      "On a terminal it asks for the volume's name. A dead owner's volume need not be unlocked: the next\n"
      "mount takes it over by itself, unless takeover=never.",
      "rbdvol unlock db-data" },
    { "doctor", "rbdvol doctor [--json] [--config=FILE] [--OPTION=VALUE]...",
      "Checks what this host needs for volumes: the key's capabilities, the pools, the mappers, the tools, "
      "the\n"
      "directories, Docker's view; and says how to mend what it lacks. Takes the options of 'serve'. Ends "
      "with 1\n"
      "when something would fail.",
      "rbdvol doctor" },
    { "resize", "rbdvol resize NAME SIZE [--json]",
      "Makes a volume larger: its image, and, while it is mounted on this host, its file system at once;\n"
      "otherwise that grows at the next mount. A volume that is mounted elsewhere is resized there. It\n"
      "cannot be made smaller.",
      "rbdvol resize db-data 100G" },
    { "snap", "rbdvol snap create|ls|rm|rollback NAME[@SNAP] [--json]",
      "Snapshots of a volume. 'create' freezes its file system for that moment while it is mounted on this\n"
      "host; one that is mounted elsewhere is snapshot there. 'ls' lists them. 'rollback' makes the volume,\n"
      "which nobody may be using, what it was; on a terminal it asks for the name.",
      "rbdvol snap create db-data@monday" },
    { "clone", "rbdvol clone NAME[@SNAP] NEW [-o KEY=VALUE]...",
      "Makes a volume that begins as a snapshot of another one, or as that is now, and shares its data "
      "until\n"
      "either is written. With -o ro it stays as it is, and may be mounted on many hosts at once.",
      "rbdvol clone db-data@monday db-test -o size=200G" },
    { "trash", "rbdvol trash ls | restore NAME|ID [NEW] | purge [NAME|ID] [--json]",
      "Volumes that were removed and are kept for a while. 'restore' takes one back, under its name or a "
      "new\n"
      "one. 'purge' deletes for good: those whose time is over, or the one that is named. Only what rbdvol\n"
      "put into the trash is seen and touched.",
      "rbdvol trash restore db-data" },
    { "trim", "rbdvol trim NAME | --all [--json]",
      "Gives back to the cluster what the file system of a volume that is mounted here, or of all of them,\n"
      "does not use any more.",
      "rbdvol trim --all" },
    { "version", "rbdvol version", "Prints the version.", "rbdvol version" },
    { "help", "rbdvol help [COMMAND]", "Explains a command.", "rbdvol help serve" },
};

#define NCOMMANDS (sizeof commands / sizeof *commands)

void help_overview(FILE *out)
{
    (void)fputs("rbdvol keeps Docker volumes on Ceph RBD images.\n\nUsage:\n", out);
    for (size_t i = 0; i < NCOMMANDS; i++)
        (void)fprintf(out, "  %s\n", commands[i].usage);
    (void)fputs("\nAll but serve ask the daemon at its socket: /run/docker/plugins/rbd.sock, or\n"
                "  --socket=PATH   this socket\n"
                "  --name=NAME     /run/docker/plugins/NAME.sock\n"
                "  --json          print JSON: rbdvol(8) tells its members\n"
                "\n'rbdvol help COMMAND' tells more; 'rbdvol help serve' lists the daemon's options.\n"
                "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
                out);
}

/* Text in lines of at most 100 columns, behind this indentation. */
static void wrapped(FILE *out, const char *text, int indent)
{
    int column = 0;
    while (*text) {
        int len = (int)strcspn(text, " ");
        if (column && column + 1 + len > 100 - indent) {
            (void)fputc('\n', out);
            column = 0;
        }
        (void)fprintf(out, "%*s%.*s", column ? 1 : indent, "", len, text);
        column += len + (column ? 1 : 0);
        text += len + (text[len] == ' ');
    }
    (void)fputc('\n', out);
}

static void print_options(FILE *out)
{
    char text[1024];
    (void)fprintf(out, "\nOptions:\n  --config=FILE\n");
    (void)snprintf(text, sizeof text,
                   "the configuration file, which must exist (default: %s/rbdvol/NAME.conf, which need not)",
                   RBDVOL_SYSCONFDIR);
    wrapped(out, text, 6);
    for (size_t i = 0; i < options_count; i++) {
        const struct option_row *o = &options[i];
        (void)fprintf(out, "  --%s=%s\n", o->name, o->value);
        (void)snprintf(text, sizeof text, "%s (default: %s)", o->meaning, *o->preset ? o->preset : o->none);
        wrapped(out, text, 6);
    }
    (void)fputs(
        "\nDurations are numbers with ms, s, m, h or d; sizes are numbers with K, M, G or T, binary.\n", out);
}

bool help_command(const char *command, FILE *out)
{
    for (size_t i = 0; i < NCOMMANDS; i++) {
        if (strcmp(commands[i].name, command) != 0)
            continue;
        (void)fprintf(out, "Usage: %s\n\n%s\n\nExample:\n  %s\n", commands[i].usage, commands[i].text,
                      commands[i].example);
        if (strcmp(command, "serve") == 0)
            print_options(out);
        return true;
    }
    return false;
}
