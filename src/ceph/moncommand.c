/* SPDX-License-Identifier: MIT */
#include "ceph/moncommand.h"

int moncommand(rados_t rados, const char *text, json_t **ret)
{
    char *out = NULL, *status = NULL;
    size_t out_len = 0, status_len = 0;
    const char *commands[] = { text };
    int rc = rados_mon_command(rados, commands, 1, "", 0, &out, &out_len, &status, &status_len);
    if (rc == 0 && ret)
        *ret = json_loadb(out, out_len, JSON_DISABLE_EOF_CHECK, NULL);
    rados_buffer_free(out);
    rados_buffer_free(status);
    return rc;
}
