#!/usr/bin/python3
"""The reader's own tests: parts with known answers, and archives made by tiny.py with every kind of damage."""
import contextlib
import glob
import io
import itertools
import os
import random
import stat
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import keys          # noqa: E402
import parity        # noqa: E402
import reader        # noqa: E402
import tiny          # noqa: E402
from conventions import DATA, TREE, Damage, Refused, sha256, uncbor   # noqa: E402


def slow_mul(a, b):
    product = 0
    for bit in range(8):
        product ^= (a << bit) * (b >> bit & 1)
    for bit in range(14, 7, -1):
        product ^= (0x11D << bit - 8) * (product >> bit & 1)
    return product


class Parity(unittest.TestCase):
    def test_multiplication(self):
        for a, b in itertools.product(range(256), repeat=2):
            self.assertEqual(parity.gf_mul(a, b), slow_mul(a, b))

    def test_backblaze_vector(self):
        """The 5+5 example of JavaReedSolomon's own tests."""
        data = {0: b"\0\1", 1: b"\4\5", 2: b"\2\3", 3: b"\6\7", 4: b"\x08\x09"}
        for j, want in zip(range(5, 10), [(12, 13), (10, 11), (14, 15), (90, 91), (94, 95)]):
            self.assertEqual(parity.make_shard(5, 5, j, data), bytes(want))

    def test_any_k_shards(self):
        for k, m in [(1, 0), (1, 2), (2, 1), (4, 2), (8, 3)]:
            shards = {c: random.randbytes(64) for c in range(k)}
            for j in range(k, k + m):
                shards[j] = parity.make_shard(k, m, j, shards)
            for left in itertools.combinations(range(k + m), k):
                for want in range(k + m):
                    have = {j: shards[j] for j in left}
                    self.assertEqual(parity.make_shard(k, m, want, have), shards[want], (k, m, left, want))

    def test_largest_matrix(self):
        self.assertEqual(parity.code_matrix(16, 16)[:16], [[int(r == c) for c in range(16)] for r in range(16)])

    def test_crc32c(self):
        self.assertEqual(parity.crc32c(b"123456789"), 0xE3069283)


class Conventions(unittest.TestCase):
    def test_strict_cbor(self):
        self.assertEqual(uncbor(b"\xa2\x01\x02\x03\x41x"), {1: 2, 3: b"x"})
        for bad in (b"\xa2\x01\x02\x01\x03", b"\xa2\x03\x01\x01\x02", b"\x18\x01", b"\x9f\xff", b"\x01\x01"):
            with self.assertRaises(Damage):
                uncbor(bad)

    def test_slot_bytes(self):
        header = tiny.cbor({1: tiny.ARCHIVE, 2: bytes(16), 3: 1, 4: 1})
        data = b"CAIRNKEY\1\0" + bytes([len(header), 0, 2, 0, 0, 0]) + header + b"xy"
        data += keys.sha256(data)
        slot = keys.parse_slot(data)
        self.assertEqual((slot.header[1], slot.aad, slot.sealed), (tiny.ARCHIVE, data[:-34], b"xy"))
        with self.assertRaises(Damage):
            keys.parse_slot(data[:-33] + b"z" + data[-32:])
        for end in range(16, len(data)):
            with self.assertRaises(Damage):
                keys.parse_slot(data[:end])
        with self.assertRaises(Refused):
            keys.parse_slot(data[:8] + b"\2" + data[9:])

    def test_argon2_limits(self):
        self.assertEqual(len(keys.password_key({7: bytes(32), 8: 1, 9: 19456, 10: 1}, b"pw")), 32)
        for bad in ({8: 0}, {8: 65}, {9: 19455}, {9: 1048577}, {10: 0}, {10: 65}, {7: bytes(15)}):
            with self.assertRaises(Refused):
                keys.password_key({7: bytes(32), 8: 1, 9: 19456, 10: 1} | bad, b"pw")

    def test_key_file(self):
        self.assertEqual(keys.parse_key_file(tiny.KEY_TEXT), tiny.KEY_FILE)
        for bad in ("", tiny.KEY_TEXT.replace("32", "33", 1), "CAIRN-KEY-2" + tiny.KEY_TEXT[29:]):
            with self.assertRaises(Refused):
                keys.parse_key_file(bad)

    def test_recovery(self):
        check = sha256(tiny.ARCHIVE + tiny.ROOT).hex()[:8]
        text = f"CAIRN-RECOVERY-1-{tiny.ARCHIVE.hex()}-\n{tiny.ROOT.hex()} -{check}"
        for typed in (text, text.upper(), "# paper\n " + text.replace("-", " -\n ")):
            self.assertEqual(keys.parse_recovery(typed), (tiny.ARCHIVE, tiny.ROOT))
        with self.assertRaises(Refused):
            keys.parse_recovery(text.replace("64", "65", 1))


class Archives(unittest.TestCase):
    """One archive a test: a file of three chunks with a hole, a hard link, a symlink, a fifo, folders."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = folder.name
        self.key_file = os.path.join(self.top, "key")
        with open(self.key_file, "w", encoding="utf-8") as f:
            f.write(tiny.KEY_TEXT)

    def write(self, k, m, **options):
        w = tiny.Writer(self.top, k, m, **options)
        self.folders = w.folders
        chunks = [random.randbytes(200_000), bytes(150_000), b"end"]
        self.want = chunks[0][:100_000] + bytes(1 << 20) + chunks[0][100_000:] + chunks[1] + chunks[2]
        ids = [w.blob(DATA, c, compress=c[0] == 0) for c in chunks]
        depth2 = w.blob(TREE, tiny.cbor(b"".join(ids)))
        file = {2: 1, 3: 0o4750, 8: [-5, 123456789], 11: len(self.want), 12: depth2, 13: 1, 15: [7, 9],
                18: [100_000, 1 << 20]}
        nodes = [{1: b"\n\xff", 2: 3, 8: [3, 4], 14: b"/nowhere/\xfe"}, {1: b"file", **file}, {1: b"link", **file},
                 {1: b"pipe", 2: 4, 3: 0o600}]
        inner = w.blob(TREE, tiny.cbor(nodes[:2])) + w.blob(TREE, tiny.cbor(nodes[2:]))
        root = w.blob(TREE, tiny.cbor([{1: b"empty", 2: 2, 3: 0o500, 8: [9, 0]},
                                       {1: b"srv", 2: 2, 3: 0o2755, 8: [1 << 33, 1], 12: inner}]))
        return w, root

    def read(self, *arguments, folders=None):
        """Runs the reader; returns its status and what it said."""
        out = io.StringIO()
        argv = sys.argv
        sys.argv = ["reader.py", "--member", *(folders or self.folders), "--key-file", self.key_file, *arguments]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                status = reader.main()
        finally:
            sys.argv = argv
        return status, out.getvalue()

    def restored(self, *options, folders=None):
        target = tempfile.mkdtemp(dir=self.top)
        status, said = self.read(*options, "restore", "latest", target, folders=folders)
        self.assertEqual(status, 0, said)
        srv = os.path.join(target, "srv")
        with open(os.path.join(srv, "file"), "rb") as f:
            self.assertEqual(f.read(), self.want)
            self.assertLess(os.fstat(f.fileno()).st_blocks * 512, len(self.want) - (1 << 20) + 16384)
        info = os.stat(os.path.join(srv, "file"))
        self.assertEqual((stat.S_IMODE(info.st_mode), info.st_mtime_ns, info.st_nlink), (0o4750, -4876543211, 2))
        self.assertEqual(os.readlink(os.path.join(os.fsencode(srv), b"\n\xff")), b"/nowhere/\xfe")
        self.assertTrue(stat.S_ISFIFO(os.stat(os.path.join(srv, "pipe")).st_mode))
        self.assertEqual(os.stat(srv).st_mtime_ns, (1 << 33) * 10**9 + 1)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(target, "empty")).st_mode), 0o500)
        return said

    def shards(self, folder="binaries"):
        return sorted(path for f in self.folders for path in glob.glob(f"{f}/{folder}/*/*/*/*"))

    def test_whole(self):
        for k, m in [(1, 0), (2, 1), (1, 2), (4, 2)]:
            with self.subTest(k=k, m=m):
                self.top = tempfile.mkdtemp(dir=self.top)
                w, root = self.write(k, m)
                name = w.finish(root)
                self.assertEqual(self.restored(), "")
                self.assertEqual(self.restored("--no-index"), "")
                self.assertEqual(self.read("check"), (0, f"{3 * (k + m)} shards read, 0 problems\n"))
                self.assertIn(f"{name}  2023-11-14 22:13:20Z  host  home  /srv/\\xff\n", self.read("list")[1])

    def test_any_k_members(self):
        w, root = self.write(4, 2)
        w.finish(root)
        for left in itertools.combinations(w.folders, 4):
            self.restored(folders=left[::-1])
        status, said = self.read("restore", "latest", self.top + "/t", folders=w.folders[:3])
        self.assertEqual(status, 3, said)
        self.assertIn("only 3 of the archive's 6 members are here, 4 are needed", said)
        self.assertIn("only 3 of the 4 shards that would replace it are left", said)

    def test_sub_members(self):
        w, root = self.write(2, 1)
        w.finish(root)
        for place, folder in enumerate(self.folders):
            os.rename(folder, os.path.join(self.top, f"m{place:02d}"))
        self.restored(folders=[self.top])

    def test_foreign_sessions(self):
        w, root = self.write(2, 1)
        w.finish(root, session=tiny.Session(w), foreign=[w.session])
        self.restored()
        self.restored("--no-index")

    def test_every_damage_of_one_shard(self):
        w, root = self.write(2, 1)
        w.finish(root)
        for path in self.shards() + self.shards("index"):
            with open(path, "rb") as f:
                whole = f.read()
            for what, data in {"header": b"x" + whole[1:], "payload": whole[:5000] + b"??" + whole[5002:],
                               "version": whole[:8] + b"\2" + whole[9:], "copy": whole[:-1] + b"?",
                               "both headers": b"x" + whole[1:-1] + b"x", "sums": whole[:-4097] + b"?" + whole[-4096:],
                               "cut": whole[:-9000], "empty": b"", "gone": None}.items():
                with self.subTest(path=path, what=what):
                    os.unlink(path)
                    if data is not None:
                        with open(path, "wb") as f:
                            f.write(data)
                    self.restored()
                    self.restored("--no-index")
                    status, said = self.read("check")
                    self.assertEqual(status, 4, said)
                    self.assertIn("1 problems", said)
            with open(path, "wb") as f:
                f.write(whole)

    def test_wrong_keys(self):
        w, root = self.write(1, 0)
        w.finish(root)
        with open(self.key_file, "w", encoding="utf-8") as f:
            f.write(f"CAIRN-KEY-1-{bytes(32).hex()}-{sha256(bytes(32)).hex()[:8]}\n")
        self.assertEqual(self.read("list")[0], 6)

    def test_writer_key(self):
        w, root = self.write(1, 0, hpke_only=True)
        name = w.finish(root)
        status, said = self.read("list")
        self.assertEqual(status, 3, said)
        self.assertIn(name, said)
        self.assertIn("needs HPKE, which this reader does not have", said)
        self.assertEqual(self.read("check")[0], 0)

    def test_names_that_lead_outside(self):
        for bad in (b"..", b"a/b", b"/a", b"", b".", b"a\0"):
            with self.subTest(name=bad):
                self.top = tempfile.mkdtemp(dir=self.top)
                w, _ = self.write(1, 0)
                w.finish(w.blob(TREE, tiny.cbor([{1: bad, 2: 2}])))
                status, said = self.read("restore", "latest", self.top + "/t")
                self.assertEqual((status, os.listdir(self.top + "/t")), (3, []), said)
                self.assertIn("impossible name", said)

    def test_symlink_and_directory_of_one_name(self):
        w, _ = self.write(1, 0)
        inner = w.blob(TREE, tiny.cbor([{1: b"x", 2: 4}]))
        w.finish(w.blob(TREE, tiny.cbor([{1: b"a", 2: 3, 14: b"/tmp"}, {1: b"a", 2: 2, 12: inner}])))
        status, said = self.read("restore", "latest", self.top + "/t")
        self.assertEqual(status, 3, said)
        self.assertIn("not in ascending order", said)

    def test_path(self):
        w, root = self.write(1, 0)
        name = w.finish(root)
        status, said = self.read("restore", name[:8], self.top + "/t", "--path", "/srv")
        self.assertEqual(status, 0, said)
        self.assertEqual(os.stat(self.top + "/t").st_mtime_ns, (1 << 33) * 10**9 + 1)
        status, said = self.read("restore", name[:8], self.top + "/f", "--path", "srv/link")
        self.assertEqual((status, os.listdir(self.top + "/f")), (0, ["link"]), said)
        self.assertEqual(self.read("restore", name, self.top + "/g", "--path", "/srv/none")[0], 1)

    def test_changed_card(self):
        w, root = self.write(2, 1)
        w.finish(root)
        path = self.folders[0] + "/cairn.json"
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for old, new, message in (('"bits": 20', '"bits": 21', "wrong mac"), ('{"cairn"', "cairn", "malformed"),
                                  ('"features": []', '"features": ["x"]', "does not know")):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.replace(old, new))
            self.assertIn(message, self.restored())


if __name__ == "__main__":
    unittest.main()
