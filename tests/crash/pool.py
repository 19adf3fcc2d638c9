# SPDX-License-Identifier: MIT
"""One namespace of a pool through librados and librbd, called directly: a look at it takes a millisecond, not a process."""

import ctypes

rados = ctypes.CDLL("librados.so.2")
_rbd = ctypes.CDLL("librbd.so.1")
BUFFER = 1 << 16
ENOENT, EBUSY, ERANGE = 2, 16, 34
LAYERING, MODERN = 1, 1 | 4 | 8 | 16  # features: modern ones with exclusive-lock, object-map, fast-diff
LOCKS = ("rbd_lock", "rbdvol", "rbdvol.ctl")


class _Spec(ctypes.Structure):
    _fields_ = [("id", ctypes.c_char_p), ("name", ctypes.c_char_p)]


class _Snap(ctypes.Structure):
    _fields_ = [("id", ctypes.c_uint64), ("size", ctypes.c_uint64), ("name", ctypes.c_char_p)]


class _Trash(ctypes.Structure):
    _fields_ = [("id", ctypes.c_char_p), ("name", ctypes.c_char_p), ("source", ctypes.c_int), ("deleted", ctypes.c_int64),
                ("deferred", ctypes.c_int64)]


def must(rc, what):
    if rc < 0:
        raise OSError(-rc, f"{what}: error {rc}")
    return rc


class Pool:
    """The cluster as its administrator."""

    def __init__(self, conf, pool, namespace):
        self.cluster, self.io = ctypes.c_void_p(), ctypes.c_void_p()
        must(rados.rados_create2(ctypes.byref(self.cluster), b"ceph", b"client.admin", 0), "rados_create2")
        must(rados.rados_conf_read_file(self.cluster, conf.encode()), "rados_conf_read_file")
        must(rados.rados_connect(self.cluster), "rados_connect")
        must(rados.rados_ioctx_create(self.cluster, pool.encode(), ctypes.byref(self.io)), "rados_ioctx_create")
        self.conf, self.pool, self.namespace = conf, pool, namespace
        if namespace:
            rc = _rbd.rbd_namespace_create(self.io, namespace.encode())
            if rc != -17:  # EEXIST
                must(rc, "rbd_namespace_create")
        rados.rados_ioctx_set_namespace(self.io, namespace.encode())

    def close(self):
        rados.rados_ioctx_destroy(self.io)
        rados.rados_shutdown(self.cluster)

    def objects(self):
        listing, name = ctypes.c_void_p(), ctypes.c_char_p()
        must(rados.rados_nobjects_list_open(self.io, ctypes.byref(listing)), "rados_nobjects_list_open")
        found = []
        while rados.rados_nobjects_list_next(listing, ctypes.byref(name), None, None) == 0:
            found.append(name.value.decode())
        rados.rados_nobjects_list_close(listing)
        return sorted(found)

    def wipe(self):
        for name in self.objects():
            if name != "rbd_info":
                rados.rados_remove(self.io, name.encode())
        # a namespace has a directory that says that it is ready, from the beginning
        out = ctypes.create_string_buffer(8)
        must(rados.rados_exec(self.io, b"rbd_directory", b"rbd", b"dir_state_set", b"\0", 1, out, 8), "dir_state_set")

    def images(self):
        """name -> id of what is in the directory."""
        room = ctypes.c_size_t(1024)
        specs = (_Spec * room.value)()
        must(_rbd.rbd_list2(self.io, specs, ctypes.byref(room)), "rbd_list2")
        found = {specs[i].name.decode(): specs[i].id.decode() for i in range(room.value)}
        _rbd.rbd_image_spec_list_cleanup(specs, room)
        return found

    def trash(self):
        """id -> name."""
        room = ctypes.c_size_t(1024)
        entries = (_Trash * room.value)()
        must(_rbd.rbd_trash_list(self.io, entries, ctypes.byref(room)), "rbd_trash_list")
        found = {entries[i].id.decode(): entries[i].name.decode() for i in range(room.value)}
        _rbd.rbd_trash_list_cleanup(entries, room)
        return found

    def lockers(self, image_id, lock):
        """[(client, cookie)]"""
        lens = [ctypes.c_size_t(BUFFER) for _ in range(4)]
        tag, clients, cookies, addresses = (ctypes.create_string_buffer(BUFFER) for _ in range(4))
        exclusive = ctypes.c_int()
        rados.rados_list_lockers.restype = ctypes.c_ssize_t
        rc = rados.rados_list_lockers(self.io, f"rbd_header.{image_id}".encode(), lock.encode(), ctypes.byref(exclusive), tag,
                                       ctypes.byref(lens[0]), clients, ctypes.byref(lens[1]), cookies, ctypes.byref(lens[2]),
                                       addresses, ctypes.byref(lens[3]))
        if rc == -ENOENT:
            return []
        must(rc, f"the lockers of {image_id}")

        def words(buffer, length):
            return [w.decode() for w in buffer.raw[:length.value].split(b"\0")[:rc]]

        return list(zip(words(clients, lens[1]), words(cookies, lens[2])))

    def locks(self, image_id):
        """lock -> its lockers, of those that we know."""
        return {lock: who for lock in LOCKS for who in [self.lockers(image_id, lock)] if who}

    def make_image(self, name, size, features=MODERN):
        order = ctypes.c_int(0)
        must(_rbd.rbd_create2(self.io, name.encode(), ctypes.c_uint64(size), ctypes.c_uint64(features), ctypes.byref(order)),
              "rbd_create2")

    def lock_by_hand(self, name):
        """An advisory lock, as `rbd lock add` leaves it: by a client that has gone. It may be fenced, and is none of ours."""
        other = Pool(self.conf, self.pool, self.namespace)
        image = other._open(name)
        try:
            must(_rbd.rbd_lock_exclusive(image, b"by hand"), "rbd_lock_exclusive")
        finally:
            _rbd.rbd_close(image)
            other.close()

    def _open(self, name, snap=None, read_only=False):
        image = ctypes.c_void_p()
        opener = _rbd.rbd_open_read_only if read_only else _rbd.rbd_open
        must(opener(self.io, name.encode(), ctypes.byref(image), snap), "rbd_open")
        return image

    def pending(self):
        """The keys of rbdvol.pending."""
        return {key.decode() for key in self.omap("rbdvol.pending")}

    def omap(self, name):
        """The keys and values of an object; none of one that is not there."""
        op, found, rc, more = rados.rados_create_read_op, ctypes.c_void_p(), ctypes.c_int(), ctypes.c_ubyte()
        op.restype = ctypes.c_void_p
        read = ctypes.c_void_p(op())
        rados.rados_read_op_omap_get_vals2(read, b"", b"", ctypes.c_uint64(1000), ctypes.byref(found), ctypes.byref(more),
                                           ctypes.byref(rc))
        done = rados.rados_read_op_operate(read, self.io, name.encode(), 0)
        pairs = {}
        key, value, klen, vlen = ctypes.c_char_p(), ctypes.c_char_p(), ctypes.c_size_t(), ctypes.c_size_t()
        while done == 0:
            rados.rados_omap_get_next2(found, ctypes.byref(key), ctypes.byref(value), ctypes.byref(klen), ctypes.byref(vlen))
            if key.value is None:
                break
            pairs[ctypes.string_at(key, klen.value)] = ctypes.string_at(value, vlen.value)
        if done == 0:
            rados.rados_omap_get_end(found)
        rados.rados_release_read_op(read)
        if done != -ENOENT:
            must(done, f"the keys of {name}")
        return pairs

    def size(self, name):
        image, size = self._open(name, read_only=True), ctypes.c_uint64()
        try:
            must(_rbd.rbd_get_size(image, ctypes.byref(size)), "rbd_get_size")
        finally:
            _rbd.rbd_close(image)
        return size.value

    def snapshots(self, name):
        """name -> id of those of an image, also of such that are kept only for their clones."""
        image, n = self._open(name, read_only=True), ctypes.c_int(256)
        found = (_Snap * n.value)()
        try:
            count = must(_rbd.rbd_snap_list(image, found, ctypes.byref(n)), "rbd_snap_list")
            names = {found[i].name.decode(): found[i].id for i in range(count)}
            _rbd.rbd_snap_list_end(found)
        finally:
            _rbd.rbd_close(image)
        return names

    def forget_snapshots(self):
        """An object that is deleted below a snapshot stays in the pool for as long as nobody says that the snapshot has gone."""
        for name in self.images():
            try:
                found = self.snapshots(name)
            except OSError:  # not whole
                continue
            for snap_id in found.values():
                rados.rados_ioctx_selfmanaged_snap_remove(self.io, ctypes.c_uint64(snap_id))
