/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "host/mountinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mount_entry e;
    auto_free char *line = malloc(size + 1);
    if (!line)
        return 0;
    memcpy(line, data, size);
    line[size] = '\0';
    if (mountinfo_parse(line, &e) == 0 &&
        (strlen(e.mountpoint) >= sizeof e.mountpoint || strlen(e.source) > size || strlen(e.fstype) > size))
        abort();
    return 0;
}
