"""A tiny writer of archives, for the reader's own tests: the smallest thing that follows docs/format.md.
It chooses what a test wants to see (sizes, holes, links, a second session), not what a backup would."""
import json
import os
import struct

import cbor2
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from conventions import DATA, INDEX, TREE, hkdf, mac, sha256
from parity import crc32c, make_shard

ARCHIVE, ROOT = bytes(range(16)), bytes(range(100, 132))
KEY_FILE = bytes(range(50, 82))
KEY_TEXT = f"# keep this file\nCAIRN-KEY-1-{KEY_FILE.hex()}-{sha256(KEY_FILE).hex()[:8]}\n"


def cbor(value):
    return cbor2.dumps(value, canonical=True)


def seal(key, plain, aad):
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, plain, aad)


class Session:
    def __init__(self, writer, hpke_only=False):
        self.id, self.key = os.urandom(16), os.urandom(32)
        self.hpke_wrap = bytes(1168)   # no reader without HPKE looks at it
        self.root_wrap = b"" if hpke_only else seal(writer.wrap, self.key, b"cairn/v1/session" + ARCHIVE + self.id)


class Writer:
    """Puts an archive of k + m members into folders below `top`."""

    def __init__(self, top, k, m, hpke_only=False):
        self.k, self.m = k, m
        self.folders = [os.path.join(top, f"member{i}") for i in range(k + m)]
        self.index, self.wrap, sign = (hkdf(ROOT, ARCHIVE, b"cairn/v1/" + label)
                                       for label in (b"index", b"wrap", b"sign"))
        self.signer = Ed25519PrivateKey.from_private_bytes(sign)
        self.signer_bytes = self.signer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.certificate = bytes(64)
        if hpke_only:   # a writer key: certified by the root
            root, self.signer = self.signer, Ed25519PrivateKey.generate()
            self.signer_bytes = self.signer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            self.certificate = root.sign(b"cairn/v1/writer" + ARCHIVE + self.signer_bytes)
        self.session = Session(self, hpke_only)
        self.columns, self.blobs = [], {DATA: [], TREE: []}
        self.cards()
        self.key_slot()

    def put(self, member, name, data):
        path = os.path.join(self.folders[member], name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def put_all(self, name, data):
        for member in range(self.k + self.m):
            self.put(member, name, data)

    def cards(self):
        ids = [f"{i:032x}" for i in range(1, 1 + self.k + self.m)]
        for member, name in enumerate(ids):
            text = (f"cairn/v1/card\n{ARCHIVE.hex()}\n{name}\n1\n{self.k}\n{self.m}\nrotate\n{','.join(ids)}\n"
                    "524288\n8388608\n20\n\n2026-11-22T03:00:00Z\n")
            card = {"cairn": 1, "archive": ARCHIVE.hex(), "member": name,
                    "layout": {"epoch": 1, "data": self.k, "parity": self.m, "placement": "rotate", "members": ids},
                    "chunker": {"min": 524288, "max": 8388608, "bits": 20}, "features": [],
                    "created": "2026-11-22T03:00:00Z", "mac": mac(mac(self.index, b"card"), text.encode()).hex()}
            self.put(member, "cairn.json", json.dumps(card).encode())

    def key_slot(self):
        slot, salt = os.urandom(16), os.urandom(32)
        header = cbor({1: ARCHIVE, 2: slot, 3: 2, 4: 1, 5: "key file", 6: 1, 7: salt, 11: sha256(KEY_FILE)[:8]})
        bundle = cbor({1: 1, 2: ROOT})
        aad = b"CAIRNKEY" + struct.pack("<HHI", 1, len(header), len(bundle) + 28) + header
        data = aad + seal(hkdf(KEY_FILE, salt, b"cairn/v1/keyfile"), bundle, aad)
        self.put_all("keys/" + slot.hex(), data + sha256(data))

    def blob(self, kind, plain, compress=False):
        """Keeps a sealed blob for the next pack of its kind; returns its id."""
        return self.seal_blob(kind, plain, compress, self.session.id, self.session.key, self.blobs.get(kind, []))[0]

    def seal_blob(self, kind, plain, compress, session, key, to):
        name = sha256(plain)
        aad = (b"\1\0" + ARCHIVE + bytes([kind]) + name + session + bytes([compress]) + struct.pack("<I", len(plain)))
        body = zstandard.ZstdCompressor().compress(plain) if compress else plain
        to.append((name, seal(mac(key, bytes([kind]) + name), body, aad), len(plain), int(compress)))
        return to[-1]

    def pack(self, kind, blobs, session=None, foreign=()):
        """One pack of these blobs, dealt to the columns in turn. With foreign sessions, the first of them is the
        blobs' session and the header has one of its own, as after repacking."""
        session = session or self.session
        folder = "index" if kind == INDEX else "binaries"
        dealt = [blobs[c::self.k] for c in range(self.k)]
        directories = [self.directory(column, foreign) for column in dealt]
        key = mac(self.index, b"directory" + session.id)
        sealed = [seal(key, cbor(d), b"CAIRNDIR\1\0" + ARCHIVE + session.id + bytes([kind, c]))
                  for c, d in enumerate(directories)]
        bodies = [b"".join(b[1] for b in column) for column in dealt]
        size = max(len(b) + len(s) for b, s in zip(bodies, sealed))
        size += -size % 4096
        data = {c: b + os.urandom(size - len(b) - len(s)) + s for c, (b, s) in enumerate(zip(bodies, sealed))}
        shards = [data[c] if c < self.k else make_shard(self.k, self.m, c, data) for c in range(self.k + self.m)]
        core = b"CAIRNPAK" + struct.pack("<HBBBBH", 1, kind, self.k, self.m, 17, 1) + ARCHIVE + session.id
        core = (core + struct.pack("<Q", size) + bytes(8) + self.signer_bytes).ljust(96, b"\0")
        core = (core + b"".join(struct.pack("<I", len(s)) for s in sealed)).ljust(224, b"\0")
        core = (core + b"".join(map(sha256, shards))).ljust(1248, b"\0")
        wraps = (b"", b"") if kind == INDEX else (session.hpke_wrap, session.root_wrap)
        core = (core + struct.pack("<HH", *map(len, wraps)) + wraps[0]).ljust(2656, b"\0")
        core = (core + wraps[1]).ljust(2816, b"\0")
        pack = sha256(core)
        name = f"{folder}/{pack.hex()[:2]}/{pack.hex()[2:4]}/{pack.hex()[4:6]}/{pack.hex()}.bin"
        first = int.from_bytes(pack[:4], "big")
        for j, payload in enumerate(shards):
            header = (core + bytes([j])).ljust(2824, b"\0") + self.signer.sign(b"cairn/v1/pack" + pack)
            header = (header + self.certificate).ljust(4064, b"\0")
            header += sha256(header)
            sums = b"".join(struct.pack("<I", crc32c(payload[i:i + 131072])) for i in range(0, size, 131072))
            self.put((j + first) % (self.k + self.m), name, header + payload + sums + header)
        if kind != INDEX:
            self.columns += [[pack, kind, self.k, self.m, 1, size, c, 0, d] for c, d in enumerate(directories)]
        return name

    def directory(self, blobs, foreign):
        n = len(blobs)
        fields = {1: b"".join(b[0] for b in blobs), 2: struct.pack(f"<{n}I", *(len(b[1]) for b in blobs)),
                  3: struct.pack(f"<{n}I", *(b[2] for b in blobs)), 4: bytes(b[3] for b in blobs)}
        if foreign:
            fields |= {5: b"\1" * n, 6: [[s.id, s.hpke_wrap, s.root_wrap] for s in foreign]}
        return fields

    def finish(self, content, session=None, foreign=()):
        """Packs, an index pack with one segment, a snapshot and its mark."""
        for kind, blobs in self.blobs.items():
            self.pack(kind, blobs, session, foreign)
        own = session or self.session
        segment = cbor({1: [[own.id, own.hpke_wrap, own.root_wrap]], 2: self.columns})
        index = Session(self)
        index.key = mac(self.index, b"session" + index.id)
        self.pack(INDEX, [self.seal_blob(INDEX, segment, True, index.id, index.key, [])], index)
        s = self.session
        aad = b"CAIRNSNP" + struct.pack("<HHHH", 1, len(s.hpke_wrap), len(s.root_wrap), 0) + ARCHIVE + s.id
        fields = {1: content, 3: [1_700_000_000, 5], 4: [1_700_000_001, 0], 6: "home", 7: "host", 11: [b"/srv/\xff"]}
        plain = zstandard.ZstdCompressor().compress(cbor(fields))
        aad += self.signer_bytes + self.certificate + struct.pack("<II", len(plain) + 28, 0) + s.hpke_wrap + s.root_wrap
        snapshot = aad + seal(mac(s.key, b"snapshot"), plain, aad)
        snapshot += self.signer.sign(b"cairn/v1/snapshot" + sha256(snapshot))
        name = sha256(snapshot)
        self.put_all("snapshots/" + name.hex(), snapshot)
        mark = b"CAIRNVAL\1\0" + bytes(6) + ARCHIVE + name + self.signer_bytes + self.certificate
        mark += self.signer.sign(b"cairn/v1/valid" + ARCHIVE + name) + bytes(32)
        self.put_all(f"snapshots/{name.hex()}.ok", mark)
        return name.hex()
