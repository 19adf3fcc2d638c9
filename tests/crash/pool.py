# SPDX-License-Identifier: MIT
"""One namespace of a pool through librados and librbd, called directly: a look at it takes a millisecond, not a process."""

import ctypes

_rados = ctypes.CDLL("librados.so.2")
_rbd = ctypes.CDLL("librbd.so.1")
BUFFER = 1 << 16
ENOENT, EBUSY, ERANGE = 2, 16, 34
LOCKS = ("rbd_lock", "rbdvol", "rbdvol.ctl")


class _Spec(ctypes.Structure):
    _fields_ = [("id", ctypes.c_char_p), ("name", ctypes.c_char_p)]


class _Trash(ctypes.Structure):
    _fields_ = [("id", ctypes.c_char_p), ("name", ctypes.c_char_p), ("source", ctypes.c_int), ("deleted", ctypes.c_int64),
                ("deferred", ctypes.c_int64)]


def _must(rc, what):
    if rc < 0:
        raise OSError(-rc, f"{what}: error {rc}")
    return rc


class Pool:
    """The cluster as its administrator."""

    def __init__(self, conf, pool, namespace):
        self.cluster, self.io = ctypes.c_void_p(), ctypes.c_void_p()
        _must(_rados.rados_create2(ctypes.byref(self.cluster), b"ceph", b"client.admin", 0), "rados_create2")
        _must(_rados.rados_conf_read_file(self.cluster, conf.encode()), "rados_conf_read_file")
        _must(_rados.rados_connect(self.cluster), "rados_connect")
        _must(_rados.rados_ioctx_create(self.cluster, pool.encode(), ctypes.byref(self.io)), "rados_ioctx_create")
        self.namespace = namespace
        if namespace:
            rc = _rbd.rbd_namespace_create(self.io, namespace.encode())
            if rc != -17:  # EEXIST
                _must(rc, "rbd_namespace_create")
        _rados.rados_ioctx_set_namespace(self.io, namespace.encode())

    def close(self):
        _rados.rados_ioctx_destroy(self.io)
        _rados.rados_shutdown(self.cluster)

    def objects(self):
        listing, name = ctypes.c_void_p(), ctypes.c_char_p()
        _must(_rados.rados_nobjects_list_open(self.io, ctypes.byref(listing)), "rados_nobjects_list_open")
        found = []
        while _rados.rados_nobjects_list_next(listing, ctypes.byref(name), None, None) == 0:
            found.append(name.value.decode())
        _rados.rados_nobjects_list_close(listing)
        return sorted(found)

    def wipe(self):
        for name in self.objects():
            if name != "rbd_info":
                _rados.rados_remove(self.io, name.encode())
        # a namespace has a directory that says that it is ready, from the beginning
        out = ctypes.create_string_buffer(8)
        _must(_rados.rados_exec(self.io, b"rbd_directory", b"rbd", b"dir_state_set", b"\0", 1, out, 8), "dir_state_set")

    def images(self):
        """name -> id of what is in the directory."""
        room = ctypes.c_size_t(1024)
        specs = (_Spec * room.value)()
        _must(_rbd.rbd_list2(self.io, specs, ctypes.byref(room)), "rbd_list2")
        found = {specs[i].name.decode(): specs[i].id.decode() for i in range(room.value)}
        _rbd.rbd_image_spec_list_cleanup(specs, room)
        return found

    def trash(self):
        """id -> name."""
        room = ctypes.c_size_t(1024)
        entries = (_Trash * room.value)()
        _must(_rbd.rbd_trash_list(self.io, entries, ctypes.byref(room)), "rbd_trash_list")
        found = {entries[i].id.decode(): entries[i].name.decode() for i in range(room.value)}
        _rbd.rbd_trash_list_cleanup(entries, room)
        return found

    def lockers(self, image_id, lock):
        """[(client, cookie)]"""
        lens = [ctypes.c_size_t(BUFFER) for _ in range(4)]
        tag, clients, cookies, addresses = (ctypes.create_string_buffer(BUFFER) for _ in range(4))
        exclusive = ctypes.c_int()
        _rados.rados_list_lockers.restype = ctypes.c_ssize_t
        rc = _rados.rados_list_lockers(self.io, f"rbd_header.{image_id}".encode(), lock.encode(), ctypes.byref(exclusive), tag,
                                       ctypes.byref(lens[0]), clients, ctypes.byref(lens[1]), cookies, ctypes.byref(lens[2]),
                                       addresses, ctypes.byref(lens[3]))
        if rc == -ENOENT:
            return []
        _must(rc, f"the lockers of {image_id}")

        def words(buffer, length):
            return [w.decode() for w in buffer.raw[:length.value].split(b"\0")[:rc]]

        return list(zip(words(clients, lens[1]), words(cookies, lens[2])))

    def locks(self, image_id):
        """lock -> its lockers, of those that we know."""
        return {lock: who for lock in LOCKS for who in [self.lockers(image_id, lock)] if who}

    def make_image(self, name, size):
        order = ctypes.c_int(0)
        _rbd.rbd_create2.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p]
        layering_lock_map_diff = 1 | 4 | 8 | 16
        _must(_rbd.rbd_create2(self.io, name.encode(), size, layering_lock_map_diff, ctypes.byref(order)), "rbd_create2")
