/* SPDX-License-Identifier: MIT */
/* The input is the member Opts of a Create. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "host/fs.h"
#include "volume/createopts.h"

#define MAX_SIZE (1ULL << 44)

/* What was taken and passed for a new image can be made, and an image that was made so contradicts nothing.
 */
static void check(const struct createopts *o)
{
    struct error err;
    const struct fs *fs = fs_find(o->spec.fstype);
    struct image_header made = { .size = o->layout.size,
                                 .order = (uint8_t)o->layout.order,
                                 .features = o->layout.features };
    if (o->given & GIVEN_FROM) /* checked once it is known what its source has (volume/clone.c) */
        return;
    if (!fs || o->layout.size > MAX_SIZE || fs_check_size(fs, o->layout.size, &err) < 0 ||
        (o->layout.order && (o->layout.order < 12 || o->layout.order > 25)) ||
        !(o->layout.features & IMAGE_FEATURE_EXCLUSIVE_LOCK) || o->layout.data_pool != o->data_pool ||
        fs_check_mkfs_options(fs, o->spec.mkfs_options, &err) < 0 ||
        fs_check_mount_options(fs, o->spec.mount_options, &err) < 0 || o->spec.mode > 07777 || !o->spec.fresh)
        abort();
    if (createopts_match(o, &made, o->data_pool, &o->spec, &err) < 0 ||
        createopts_match(o, &made, o->data_pool, NULL, &err) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char none[] = "", xfs[] = "xfs", words[] = "noatime,nodev,nosuid";
    const struct settings s = { .ns = none,
                                .fstype = xfs,
                                .mkfs_options = none,
                                .mount_options = words,
                                .size = 20ULL << 30,
                                .max_size = MAX_SIZE,
                                .mode = 0755 };
    const struct volume_name name = { .image = { .image = "db" } };
    struct createopts o;
    struct error err = { 0 };
    json_auto_t *opts = json_loadb((const char *)data, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    if (opts && createopts_parse(&s, &name, opts, &o, &err) == 0 && createopts_check_new(&s, &o, &err) == 0)
        check(&o);
    else if (opts && !err.msg[0])
        abort();
    return 0;
}
