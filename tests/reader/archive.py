"""An open archive: the index (§7), blobs (§4), content lists and trees (§8), snapshots (§9)."""
import contextlib
import os
import stat
import struct
from collections import OrderedDict, namedtuple

from conventions import (DATA, INDEX, MIB, TREE, Damage, NeedsHPKE, Refused, mac, need, pieces, reading, sha256,
                         uncbor, unseal, unzstd, warn)
from members import card_text, names_of, pack_ids, read_object
from packs import Pack, Session, parse_directory

Place = namedtuple("Place", "pack column size session entry")   # where a blob lies; session: a packs.Session

FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARDEV, BLOCKDEV = range(1, 8)   # types of nodes (§8)
CACHE_BYTES = 256 * MIB   # columns kept in memory; a file's blobs are spread over a few packs of ~32 MiB


def instant(pair):
    seconds, nanoseconds = pair
    need(isinstance(seconds, int) and isinstance(nanoseconds, int) and 0 <= nanoseconds < 10**9, "impossible time")
    return seconds * 10**9 + nanoseconds


class Node:
    TYPES = {FILE: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, SYMLINK: stat.S_IFLNK, FIFO: stat.S_IFIFO,
             SOCKET: stat.S_IFSOCK, CHARDEV: stat.S_IFCHR, BLOCKDEV: stat.S_IFBLK}

    KEYS = {FILE: {11, 12, 13, 15, 18}, DIRECTORY: {12, 13}, SYMLINK: {14, 15}, FIFO: {15}, SOCKET: {15},
            CHARDEV: {15, 16}, BLOCKDEV: {15, 16}}   # besides those that all may have

    def __init__(self, fields):
        self.name, self.type, self.mode = fields[1], fields[2], fields.get(3, 0)
        need(isinstance(self.name, bytes) and self.name not in (b"", b".", b"..") and b"/" not in self.name
             and b"\0" not in self.name, f"impossible name {self.name!r}")
        need(self.type in self.TYPES and 0 <= self.mode <= 0o7777, "impossible type or mode")
        known = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 19, 20} | self.KEYS[self.type]
        need(set(fields) <= known, f"fields that do not belong there: {set(fields) - known}")
        need(self.type not in (CHARDEV, BLOCKDEV) or 16 in fields or 19 in fields, "device without a number")
        self.uid, self.gid = fields.get(4, 0), fields.get(5, 0)
        need(all(isinstance(fields.get(key, 0), int) for key in (4, 5, 11, 13)), "not a number")
        self.mtime = instant(fields.get(8, (0, 0)))
        self.atime = instant(fields[10]) if 10 in fields else self.mtime
        self.size, self.content, self.depth = fields.get(11, 0), pieces(fields.get(12, b"")), fields.get(13, 0)
        self.target, self.link = fields.get(14, b""), fields.get(15) and tuple(fields[15])
        self.device = os.makedev(*fields.get(16, (0, 0)))
        self.xattrs, self.error = [(name, value) for name, value in fields.get(17, [])], fields.get(19)
        holes = fields.get(18, [])
        self.holes = list(zip(holes[::2], holes[1::2], strict=True))

    def data_ranges(self):
        """(offset, length) of what lies between the holes."""
        position = 0
        for offset, length in self.holes + [(self.size, 0)]:
            need(position <= offset and 0 <= length and offset + length <= self.size, "impossible holes")
            if offset > position:
                yield position, offset - position
            position = offset + length


class Snapshot:
    def __init__(self, fields, mark):
        need(set(fields) <= set(range(1, 27)), "unknown fields")
        self.content, self.depth = pieces(fields.get(1, b"")), fields.get(2, 0)
        self.start = tuple(fields.get(3, (0, 0)))
        self.series, self.host, self.paths = fields.get(6, ""), fields.get(7, ""), fields.get(11, [])
        self.tags, self.unread, self.partial = fields.get(12, []), fields.get(16, []), fields.get(17, False)
        self.checkpoint = fields.get(24, False)
        self.origin = fields.get(25, b"")  # archive id ‖ snapshot id
        need(len(self.origin) in (0, 48), "origin of another length")
        self.complete, self.mark = mark is True, mark


class Archive:
    def __init__(self, members, archive, keys):
        self.members, self.id, self.keys = members, archive, keys
        self.places = {}                  # (type, id) → places of that blob; more than one after repacking
        self._packs, self._columns, self._cached = {}, OrderedDict(), 0
        for member in members:
            if member.card:
                with contextlib.suppress(LookupError, TypeError):
                    if member.card["mac"] == mac(mac(keys.index, b"card"), card_text(member.card)).hex():
                        continue
                warn(f"the card of {member.folder} has a wrong mac: somebody or something changed it")

    # columns

    def pack(self, folder, pack_id):
        if pack_id not in self._packs:
            self._packs[pack_id] = Pack(self.members, self.keys, folder, pack_id)
        return self._packs[pack_id]

    def column(self, pack, j):
        """Pack.column, the most recently used ones from memory."""
        key = (pack.name, j)
        if key not in self._columns:
            self._columns[key] = pack.column(j)
            self._cached += pack.header.size
            while self._cached > CACHE_BYTES and len(self._columns) > 1:
                self._cached -= len(self._columns.popitem(last=False)[1])
        self._columns.move_to_end(key)
        return self._columns[key]

    # the index

    def read_directories(self):
        """Without index packs: every column of every pack says itself what it holds."""
        for pack_id in pack_ids(self.members, "binaries"):
            try:
                pack = self.pack("binaries", pack_id)
                for c in range(pack.header.k):
                    self._add_column(pack_id, pack.header, c, *pack.directory(self.keys, c, self.column(pack, c)))
            except Damage as e:
                warn(str(e))

    def _add_column(self, pack_id, h, c, entries, sessions):
        own = Session(h.session, b"", h.root_wrap)
        self._add(h.kind, pack_id, c, h.size, entries, [own] + sessions)

    def read_index(self):
        """All index segments. Their packs have the same form as all others."""
        for pack_id in pack_ids(self.members, "index"):
            try:
                pack = self.pack("index", pack_id)
                key = self.keys.index_session_key(pack.header.session)
                for c in range(pack.header.k):
                    column = self.column(pack, c)
                    for entry in pack.directory(self.keys, c, column)[0]:
                        self._add_segment(self._open(INDEX, entry, pack.header.session, key, column))
            except Damage as e:
                warn(f"{e} (--no-index does without)")

    def _add_segment(self, plain):
        with reading("index segment"):
            segment = uncbor(plain)
            sessions = [Session(*s) for s in segment[1]]
            named = list(dict.fromkeys(column[7] for column in segment[2]))
            need(named == list(range(len(sessions))) and len(set(sessions)) == len(sessions), "sessions out of order")
            for pack_id, kind, k, m, _epoch, size, c, number, directory in segment[2]:
                need(kind in (DATA, TREE) and 0 <= c < k and k + m <= 32 and size <= 32 * MIB and len(pack_id) == 32,
                     "impossible column")
                entries, foreign = parse_directory(directory, size)
                self._add(kind, pack_id, c, size, entries, [sessions[number]] + foreign)

    def _add(self, kind, pack_id, c, size, entries, sessions):
        for entry in entries:
            place = Place(pack_id, c, size, sessions[entry.session], entry)
            self.places.setdefault((kind, entry.id), []).append(place)

    # §4 blobs

    def _open(self, kind, entry, session, session_key, column):
        """The plaintext of a blob, proven to be what it is named."""
        with reading(f"blob {entry.id.hex()}"):
            name = bytes([kind]) + entry.id
            aad = (struct.pack("<H", 1) + self.id + name + session + bytes([entry.compression])
                   + struct.pack("<I", entry.plain))
            body = unseal(mac(session_key, name), column[entry.offset:entry.offset + entry.stored], aad)
            plain = body
            if entry.compression:
                need(len(body) < entry.plain, "compressed for nothing")
                plain = unzstd(body, entry.plain)
            need(len(plain) == entry.plain and sha256(plain) == entry.id, "its content is not what it is named")
            return plain

    def load(self, kind, blob):
        problem = Damage(f"blob {blob.hex()} is not in the index")
        for place in self.places.get((kind, blob), []):
            try:
                pack = self.pack("binaries", place.pack)
                need(pack.header.size == place.size and place.column < pack.header.k, f"{pack.name}: not as indexed")
                with reading(f"{pack.name}: session key"):
                    key = self.keys.session_key(place.session.id, place.session.root_wrap)
                return self._open(kind, place.entry, place.session.id, key, self.column(pack, place.column))
            except (Damage, NeedsHPKE) as e:
                problem = e
        raise problem

    # §8 trees

    def content(self, ids, depth):
        """Ids of the leaves of a content list."""
        need(0 <= depth <= 4, "content list too deep")
        for blob in ids:
            if depth == 0:
                yield blob
            else:
                with reading(f"list {blob.hex()}"):
                    inner = pieces(uncbor(self.load(TREE, blob)))
                    need(inner, "empty list")
                yield from self.content(inner, depth - 1)

    def nodes(self, ids, depth):
        """The entries of a directory, in strictly ascending order (so no name occurs twice)."""
        last = b""
        for blob in self.content(ids, depth):
            with reading(f"tree {blob.hex()}"):
                piece = uncbor(self.load(TREE, blob))
                need(1 <= len(piece) <= 65536, "no nodes, or too many")
                piece = [Node(fields) for fields in piece]
                for node in piece:
                    need(node.name > last, "names not in ascending order")
                    last = node.name
            yield from piece

    # §9 snapshots

    def snapshots(self):
        """(id, Snapshot) or (id, exception), oldest first."""
        ids = sorted({name for name, _ in names_of(self.members, "snapshots", "[0-9a-f]{64}")})
        found = [(i, self._first_good(i, "snapshots/" + i, self._parse_snapshot)) for i in ids]
        return sorted(found, key=lambda pair: getattr(pair[1], "start", (0, 0)))

    def _first_good(self, name, path, parse):
        """What parse makes of the first copy it accepts, or the exception of the last."""
        problem = Damage(f"{path} is missing")
        for member in self.members:
            full = os.path.join(member.folder, path)
            if not os.path.exists(full):
                continue
            try:
                with reading(full):
                    return parse(name, read_object(full, 64 * MIB))
            except (Damage, NeedsHPKE, Refused) as e:
                problem = e
        return problem

    def _parse_snapshot(self, name, data):
        need(sha256(data).hex() == name, "damaged: its hash is not its name")
        magic, version, w, x, _, archive, session, signer, certificate, s, _ = struct.unpack_from(
            "<8sHHHH16s16s32s64sII", data)
        need(magic == b"CAIRNSNP", "not a snapshot")
        if version != 1:
            raise Refused(f"snapshot version {version} is not known to this reader")
        need(archive == self.id, "belongs to another archive")
        body = 152 + w + x
        need(len(data) == body + s + 64 and x in (0, 60), "wrong length")
        self.keys.verify(b"cairn/v1/snapshot" + sha256(data[:-64]), signer, certificate, data[-64:])
        key = mac(self.keys.session_key(session, data[152 + w:body]), b"snapshot")
        fields = uncbor(unzstd(unseal(key, data[body:-64], data[:body]), 64 * MIB))
        mark = self._first_good(name, f"snapshots/{name}.ok", self._parse_mark)
        return Snapshot(fields, mark)

    def _parse_mark(self, name, data):
        need(len(data) == 256 and data[:10] == b"CAIRNVAL\x01\x00", "not a mark of validation")
        need(data[16:32] == self.id and data[32:64].hex() == name, "is about another snapshot")
        self.keys.verify(b"cairn/v1/valid" + data[16:64], data[64:96], data[96:160], data[160:224])
        return True
