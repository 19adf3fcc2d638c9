/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over the files and directories given. To look for new inputs instead, link the target
 * with libFuzzer: clang -fsanitize=fuzzer,address fuzz-NAME.c ... without this file. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fuzz.h"

#define INPUT_MAX (1 << 20)

static unsigned replay(const char *path)
{
    auto_dir DIR *dir = opendir(path);
    const struct dirent *d;
    unsigned n = 0;
    while (dir && (d = readdir(dir))) {
        char inner[PATH_MAX];
        if (d->d_name[0] != '.' &&
            snprintf(inner, sizeof inner, "%s/%s", path, d->d_name) < (int)sizeof inner)
            n += replay(inner);
    }
    if (dir)
        return n;
    struct error err;
    size_t len;
    auto_free char *text = NULL;
    if (file_read(path, INPUT_MAX, &text, &len, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    /* exactly its size, so that a sanitizer sees a read past the end */
    auto_free uint8_t *data = malloc(len ? len : 1);
    for (size_t i = 0; data && i < len; i++)
        data[i] = (uint8_t)text[i];
    return data && LLVMFuzzerTestOneInput(data, len) == 0;
}

int main(int argc, char **argv)
{
    unsigned n = 0;
    for (int i = 1; i < argc; i++)
        n += replay(argv[i]);
    (void)printf("%u inputs\n", n);
    return n == 0;
}
