# SPDX-License-Identifier: MIT
"""The objects of a volume at rest, kept, so that each further run begins with a copy of it: a Create with its mkfs, a Mount and
an Unmount are three quarters of what most runs need to begin."""

import ctypes
import secrets

from pool import must, rados

BLOCK = 4096


class _Object:
    def __init__(self, pool, name):
        self.name = name.encode()
        self.data = self._read(pool)
        self.omap = pool.omap(name)
        self.attributes = self._attributes(pool)

    def _read(self, pool):
        size, time = ctypes.c_uint64(), ctypes.c_long()
        must(rados.rados_stat(pool.io, self.name, ctypes.byref(size), ctypes.byref(time)), "rados_stat")
        buffer = ctypes.create_string_buffer(size.value or 1)
        must(rados.rados_read(pool.io, self.name, buffer, ctypes.c_size_t(size.value), ctypes.c_uint64(0)), "rados_read")
        return buffer.raw[:size.value]

    def _attributes(self, pool):
        found, name, value, size = ctypes.c_void_p(), ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
        must(rados.rados_getxattrs(pool.io, self.name, ctypes.byref(found)), "rados_getxattrs")
        attributes = {}
        while True:
            must(rados.rados_getxattrs_next(found, ctypes.byref(name), ctypes.byref(value), ctypes.byref(size)),
                 "rados_getxattrs_next")
            if name.value is None:
                break
            attributes[name.value] = ctypes.string_at(value, size.value) if size.value else b""
        rados.rados_getxattrs_end(found)
        return attributes

    def put(self, pool, renamed):
        """renamed: makes other names of those that are in it."""
        rados.rados_create_write_op.restype = ctypes.c_void_p
        op = ctypes.c_void_p(rados.rados_create_write_op())
        rados.rados_write_op_create(op, 0, None)
        for name, value in self.attributes.items():
            rados.rados_write_op_setxattr(op, name, value, ctypes.c_size_t(len(value)))
        data = self.data if self.name.startswith(b"rbd_data.") else renamed(self.data)
        for start, end in _extents(data):
            rados.rados_write_op_write(op, data[start:end], ctypes.c_size_t(end - start), ctypes.c_uint64(start))
        rados.rados_write_op_truncate(op, ctypes.c_uint64(len(data)))
        if self.omap:
            keys, values = ([renamed(word) for word in words] for words in (self.omap.keys(), self.omap.values()))
            n = len(keys)
            words, sizes = ctypes.c_char_p * n, ctypes.c_size_t * n
            rados.rados_write_op_omap_set2(op, words(*keys), words(*values), sizes(*map(len, keys)), sizes(*map(len, values)),
                                           ctypes.c_size_t(n))
        try:
            must(rados.rados_write_op_operate(op, pool.io, renamed(self.name), None, 0), "rados_write_op_operate")
        finally:
            rados.rados_release_write_op(op)


def _extents(data):
    """Where it is not zero: [(start, end)]"""
    zeros, found = bytes(BLOCK), []
    for start in range(0, len(data), BLOCK):
        end = min(start + BLOCK, len(data))
        if data[start:end] == zeros[:end - start]:
            continue
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found


class Stored:
    """Of the one image of a namespace, which has no snapshot. Each copy has a name and an id of its own, of the same length."""

    def __init__(self, pool, volume):
        (name, image_id), = pool.images().items()
        assert name.startswith(volume), f"{name} is not of {volume}"
        self.volume, self.id = volume.encode(), image_id.encode()
        self.objects = [_Object(pool, name) for name in pool.objects() if name != "rbd_info"]

    def put(self, pool, volume):
        assert len(volume) == len(self.volume), f"{volume} and {self.volume.decode()}"
        image_id = secrets.token_hex(len(self.id))[:len(self.id)].encode()

        def renamed(text):
            return text.replace(self.volume, volume.encode()).replace(self.id, image_id)

        for one in self.objects:
            one.put(pool, renamed)
