/* SPDX-License-Identifier: MIT */
/* The input is a text on an image that anybody with access to the pool may have written: rbdvol.spec,
 * rbdvol.making or the cookie of an owner record. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "ceph/owner.h"
#include "fuzz.h"
#include "host/fs.h"
#include "volume/making.h"
#include "volume/spec.h"

/* What was taken is what a Mount may use, and is written back so that it is read again. */
static void check_spec(const struct spec *s)
{
    auto_spec struct spec again = { 0 };
    struct error err;
    char words[SPEC_WORDS_MAX + 1];
    const struct fs *fs = fs_find(s->fstype);
    if (!fs || s->mode > 07777 || fs_check_mkfs_options(fs, s->mkfs_options, &err) < 0 ||
        fs_check_mount_options(fs, s->mount_options, &err) < 0 ||
        strpbrk(spec_mount_words(s, "nodev+nosuid", words), "/+ ") || s->uid == UINT32_MAX ||
        s->gid == UINT32_MAX)
        abort();
    auto_free char *text = spec_encode(s);
    if (spec_decode(text, &again, &err) < 0)
        abort();
    auto_free char *second = spec_encode(&again);
    if (strcmp(text, second) != 0)
        abort();
}

static void check_making(const struct making *m)
{
    struct making again;
    auto_free char *text = making_encode(m, "host", "boot");
    if (!text_is_name(m->final) || !text_is_name(m->temp) || making_decode(text, &again) < 0 ||
        strcmp(again.final, m->final) != 0 || again.since != m->since)
        abort();
}

static void check_owner(const struct owner_record *r)
{
    if (!r->host[0] || !r->machine_id[0] || !r->boot_id[0] || !r->instance[0] || !r->mapping[0] ||
        !r->address[0] || strchr(r->host, '/') || strchr(r->mapping, '/'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_spec struct spec spec = { 0 };
    struct making making;
    struct owner_record owner;
    struct error err;
    auto_free char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (spec_decode(text, &spec, &err) == 0)
        check_spec(&spec);
    if (making_decode(text, &making) == 0)
        check_making(&making);
    if (owner_parse(text, &owner) == 0)
        check_owner(&owner);
    return 0;
}
