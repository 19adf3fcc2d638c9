/* SPDX-License-Identifier: MIT */
#include "device/label.h"

#include <string.h>

#include "host/device.h"

static char *what_word, *mapping_word;

void label_init(char **argv)
{
    what_word = argv[1];
    mapping_word = argv[2];
}

/* In place: the kernel shows the memory that argv was given in. */
static void put(char *word, const char *text)
{
    size_t len = strlen(word);
    if (strlen(text) == len)
        memcpy(word, text, len);
}

void label_set(const char *what, const char *mapping)
{
    if (!what_word)
        return;
    /* the mapping stands there for as long as we say that we write */
    if (mapping)
        put(mapping_word, mapping);
    put(what_word, what);
    if (!mapping)
        put(mapping_word, DEVICE_NOBODY);
}
