/* SPDX-License-Identifier: MIT */
/* The input is what the monitors answered, and an address that a lock or a record names: both become a part
 * of a line for the kernel, or of a command to the monitors. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/blocklist.h"
#include "ceph/monmap.h"
#include "fuzz.h"

/* Nothing that would begin another word of that line. */
static void check_line(const char *addresses)
{
    if (addresses && (!*addresses || strpbrk(addresses, " \t\n=\"")))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_monmap struct monmap map = { 0 };
    struct error err;
    auto_free char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (monmap_parse((const char *)data, size, &map, &err) == 0) {
        check_line(map.v2);
        check_line(map.v1);
    }
    if (blocklist_address_ok(text) && (strpbrk(text, " ,\"") || !strchr(text, '/') || !strchr(text, ':')))
        abort();
    return 0;
}
