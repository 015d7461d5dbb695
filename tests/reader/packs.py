"""Packs and their shards (§5), and the directories at the end of data columns (§6)."""
import contextlib
import os
import struct
from collections import namedtuple

from conventions import (DATA, INDEX, MIB, TREE, Damage, Refused, mac, need, pieces, reading, sha256, uncbor,
                         unseal, warn)
from members import read_object
from parity import crc32c, make_shard

Header = namedtuple("Header", "kind k m epoch archive session size signer directories hashes root_wrap shard raw")


def parse_header(raw, pack_id):
    """A shard's header. It is whole when its last 32 bytes fit, and belongs to the pack when the core does."""
    need(len(raw) == 4096 and raw[:8] == b"CAIRNPAK", "not a shard")
    version, kind, k, m, shift, epoch = struct.unpack_from("<HBBBBH", raw, 8)
    if version != 1:
        raise Refused(f"pack version {version} is not known to this reader")
    need(sha256(raw[:4064]) == raw[4064:], "damaged header")
    need(sha256(raw[:2816]) == pack_id, "belongs to another pack than its name says")
    size, = struct.unpack_from("<Q", raw, 48)
    n, shard = k + m, raw[2816]
    need(kind in (DATA, TREE, INDEX) and k >= 1 and n <= 32 and shard < n and shift == 17, "impossible header")
    need(size % 4096 == 0 and size <= 32 * MIB, "impossible column length")
    directories = struct.unpack_from(f"<{k}I", raw, 96)
    need(all(28 <= d <= size for d in directories), "impossible directory length")
    w, x = struct.unpack_from("<HH", raw, 1248)
    need(w <= 1404 and x in (0, 60), "impossible length of a wrap")
    return Header(kind, k, m, epoch, raw[16:32], raw[32:48], size, raw[64:96], directories,
                  pieces(raw[224:224 + 32 * n]), raw[2656:2656 + x], shard, raw)


class Pack:
    """All shards of one pack that the members hold."""

    def __init__(self, members, keys, folder, pack_id):
        self.name = f"{folder} pack {pack_id.hex()}"
        self.header, self.files, damaged = None, {}, []
        text = pack_id.hex()
        for member in members:
            path = os.path.join(member.folder, folder, text[:2], text[2:4], text[4:6], text + ".bin")
            try:
                header = self._read_header(path, pack_id)
            except FileNotFoundError:
                continue
            except (Damage, Refused, OSError) as e:
                damaged.append((member, path, e))
                continue
            self.header = self.header or header
            self.files.setdefault(header.shard, []).append(path)
        need(self.header, f"{self.name}: no shard with a whole header" + "".join(f"; {p}: {e}" for _, p, e in damaged))
        h = self.header
        with reading(self.name):
            need(h.archive == keys.archive, "belongs to another archive")
            need((h.kind == INDEX) == (folder == "index"), "is of a kind that does not belong there")
            keys.verify(b"cairn/v1/pack" + pack_id, h.signer, h.raw[2888:2952], h.raw[2824:2888])
        for member, path, _ in damaged:   # its place still tells which shard it must be
            number = member.numbers.get(h.epoch)
            if number is not None:
                first, = struct.unpack_from(">I", pack_id)
                self.files.setdefault((number - first) % (h.k + h.m), []).append(path)

    @staticmethod
    def _read_header(path, pack_id):
        with open(path, "rb") as f:
            try:
                return parse_header(f.read(4096), pack_id)
            except (Damage, Refused):
                f.seek(max(0, os.fstat(f.fileno()).st_size - 4096))   # the copy
                return parse_header(f.read(4096), pack_id)

    def payload(self, j):
        """The payload of shard j, as some member has it; the header's hash proves it."""
        problem = "missing"
        for path in self.files.get(j, []):
            try:
                with open(path, "rb") as f:
                    f.seek(4096)
                    data = f.read(self.header.size)
                if sha256(data) == self.header.hashes[j]:
                    return data
                problem = f"damaged in {path}"
            except OSError as e:
                problem = f"unreadable: {path}: {e.strerror}"
        raise Damage(f"{self.name}: shard {j} is {problem}")

    def column(self, j):
        """Shard j's payload: as it is stored, or made from any k others."""
        try:
            return self.payload(j)
        except Damage as e:
            problem = str(e)
        h, have = self.header, {}
        for other in range(h.k + h.m):
            if other != j and len(have) < h.k:
                with contextlib.suppress(Damage):
                    have[other] = self.payload(other)
        need(len(have) == h.k, f"{problem}, and only {len(have)} of the {h.k} shards that would replace it are left")
        data = make_shard(h.k, h.m, j, have)
        need(sha256(data) == h.hashes[j], f"{problem}, and what replaces it has the wrong hash")
        warn(f"{problem}; made again from shards {', '.join(map(str, have))}")
        return data

    def directory(self, keys, c, column):
        """§6: the blobs of a data column."""
        h = self.header
        aad = b"CAIRNDIR" + struct.pack("<H", 1) + h.archive + h.session + bytes([h.kind, c])
        with reading(f"{self.name}: directory of column {c}"):
            sealed = column[h.size - h.directories[c]:]
            plain = uncbor(unseal(mac(keys.index, b"directory" + h.session), sealed, aad))
            return parse_directory(plain, h.size - h.directories[c])

    def check(self):
        """Problems of all shards: everything the header promises, parity and block checksums included."""
        h, good = self.header, {}
        for j in range(h.k + h.m):
            paths = self.files.get(j, [])
            if not paths:
                yield f"{self.name}: shard {j} is missing, or its header and the copy of it are damaged"
            for path in paths:
                problem = self._check_shard(j, path, good)
                if problem:
                    yield f"{path}: {problem}"
        if len(good) == h.k + h.m:
            for j in range(h.k, h.k + h.m):
                if make_shard(h.k, h.m, j, {c: good[c] for c in range(h.k)}) != good[j]:
                    yield f"{self.name}: parity shard {j} does not follow from the data columns"
        elif len(good) < h.k:
            yield f"{self.name}: lost: {len(good)} of {h.k + h.m} shards are whole, {h.k} are needed"

    def _check_shard(self, j, path, good):
        h = self.header
        blocks = -(-h.size // 131072)
        try:
            data = read_object(path, 33 * MIB)
        except Damage as e:
            return str(e)
        payload, sums = data[4096:4096 + h.size], data[4096 + h.size:4096 + h.size + 4 * blocks]
        if len(data) != 4096 + h.size + 4 * blocks + 4096:
            return f"is {len(data)} bytes long, not {4096 + h.size + 4 * blocks + 4096}"
        if sha256(payload) != h.hashes[j]:
            return "damaged payload"
        good[j] = payload
        if data[:2816] != h.raw[:2816] or data[2816] != j or sha256(data[:4064]) != data[4064:4096]:
            return "damaged header"
        if data[:4096] != data[-4096:]:
            return "header and its copy differ"
        if sums != b"".join(struct.pack("<I", crc32c(payload[i:i + 131072])) for i in range(0, h.size, 131072)):
            return "damaged checksums"
        return None


Session = namedtuple("Session", "id hpke_wrap root_wrap")
Entry = namedtuple("Entry", "id offset stored plain compression session")   # session: number, see §6


def parse_directory(plain, room):
    """(entries, foreign sessions) of a column; the blobs must end before the directory begins, at `room`."""
    need(set(plain) <= {1, 2, 3, 4, 5, 6}, "unknown keys")
    ids = pieces(plain[1])
    n = len(ids)
    need(n <= 1 << 18, "too many blobs")
    stored, lengths = struct.unpack(f"<{n}I", plain[2]), struct.unpack(f"<{n}I", plain[3])
    numbers = plain.get(5, bytes(n))
    need(len(plain[4]) == n and len(numbers) == n, "tables of differing lengths")
    sessions = [Session(*s) for s in plain.get(6, [])]
    entries, offset = [], 0
    for entry in zip(ids, stored, lengths, plain[4], numbers):
        entries.append(Entry(entry[0], offset, *entry[1:]))
        offset += entry[1]
        need(28 < entry[1] and 0 < entry[2] <= 16 * MIB and entry[3] in (0, 1) and entry[4] <= len(sessions),
             "impossible entry")
    need(offset <= room, "blobs reach into the directory")
    return entries, sessions
