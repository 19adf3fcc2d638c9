/* SPDX-License-Identifier: MIT */
/* A mapper that waits for its image (host/mapper-process.h is the daemon's side). */
#pragma once

#include "base/error.h"
#include "mapper/image.h"

/* Waits until the daemon says what to map, on the socket `control`, and sends two descriptors, which become
 * `fuse` and `control`. key_file: of the image's passphrase; "": it is not encrypted. room: the last word of
 * our argv, which then says what we map. The strings live as long as the process. Does not return when the
 * daemon has ended. */
void spare_wait(int fuse, int control, char *room, struct image_options *image, const char **mapping,
                const char **key_file);
