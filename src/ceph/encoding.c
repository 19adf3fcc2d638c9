/* SPDX-License-Identifier: MIT */
#include "ceph/encoding.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int encoding_decode(const char *data, size_t len, char *ret, size_t size)
{
    uint32_t n;
    if (len < sizeof n)
        return -EUCLEAN;
    memcpy(&n, data, sizeof n);
    n = le32toh(n);
    if (n > len - sizeof n || n >= size)
        return -EUCLEAN;
    memcpy(ret, data + sizeof n, n);
    ret[n] = '\0';
    return 0;
}

size_t encoding_encode(char *to, const char *text)
{
    uint32_t n = (uint32_t)strlen(text), le = htole32(n);
    memcpy(to, &le, sizeof le);
    memcpy(to + sizeof le, text, n);
    return sizeof le + n;
}
