"""Keys (§3): what follows from the root key, key slots, key files, recovery texts, signatures."""
import os
import re
import struct
from collections import namedtuple

from argon2.low_level import Type as Argon2Type, hash_secret_raw
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from conventions import (KIB, Damage, NeedsHPKE, Refused, WrongKey, hkdf, mac, need, reading, sha256, uncbor,
                         unseal, warn)
from members import names_of, read_object


class Keys:
    """What follows from the root key."""

    def __init__(self, archive, root):
        need(len(root) == 32, "the root key is not 32 bytes long")
        self.archive = archive
        self.index = hkdf(root, archive, b"cairn/v1/index")
        self.wrap = hkdf(root, archive, b"cairn/v1/wrap")
        self.root_signer = Ed25519PrivateKey.from_private_bytes(hkdf(root, archive, b"cairn/v1/sign")).public_key()
        self.root_signer_bytes = self.root_signer.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._sessions = {}

    def verify(self, message, signer, certificate, signature):
        """A signature counts when its signer is the root or is certified by the root."""
        if signer != self.root_signer_bytes:
            self.root_signer.verify(certificate, b"cairn/v1/writer" + self.archive + signer)
        Ed25519PublicKey.from_public_bytes(signer).verify(signature, message)

    def session_key(self, session, root_wrap):
        if session not in self._sessions:
            if not root_wrap:
                raise NeedsHPKE(f"session {session.hex()} needs HPKE, which this reader does not have")
            self._sessions[session] = unseal(self.wrap, root_wrap, b"cairn/v1/session" + self.archive + session)
        return self._sessions[session]

    def index_session_key(self, session):
        return mac(self.index, b"session" + session)


class Slot(namedtuple("Slot", "aad sealed")):   # aad: all bytes before the sealed bundle
    @property
    def header(self):
        return uncbor(self.aad[16:])


def parse_slot(data):
    need(len(data) <= 64 * KIB, "larger than 64 KiB")
    magic, version, h, s = struct.unpack_from("<8sHHI", data)
    need(magic == b"CAIRNKEY", "not a key slot")
    if version != 1:
        raise Refused(f"key slot version {version} is not known to this reader")
    need(len(data) == 16 + h + s + 32, "wrong length")
    need(sha256(data[:-32]) == data[-32:], "checksum does not fit")
    slot = Slot(data[:16 + h], data[16 + h:-32])
    known = {1, 2, 3, 4, 5, 6, 7, 11, 12} | ({8, 9, 10} if slot.header[3] == 1 else set())
    need(set(slot.header) <= known | ({13, 14} if slot.header[4] == 2 else set()), "keys that do not belong there")
    return slot


def open_slot(slot, archive, key):
    """The root key in a slot, opened with a key of 32 bytes."""
    bundle = uncbor(unseal(key, slot.sealed, slot.aad))
    need(slot.header[1] == archive, "key slot of another archive")
    if slot.header[4] != 1 or bundle[1] != 1:
        raise Refused("this is a writer key: it can read nothing back")
    return bundle[2]


def password_key(header, password):
    """The key of a password slot. Its parameters are not authenticated before they are used: check first."""
    t, memory, lanes, salt = header[8], header[9], header[10], header[7]
    if not (1 <= t <= 64 and 19456 <= memory <= 1048576 and 1 <= lanes <= 64 and len(salt) >= 16):
        raise Refused("Argon2id parameters of a key slot are outside their limits")
    return hash_secret_raw(password, salt, t, memory, lanes, 32, Argon2Type.ID, 0x13)


def match_text(pattern, text):
    """Texts are typed by people: case, blanks, line breaks and lines that begin with # do not matter."""
    typed = "".join(line for line in text.splitlines() if not line.startswith("#"))
    return re.fullmatch(pattern, "".join(typed.split()).lower())


def parse_key_file(text):
    match = match_text("cairn-key-1-([0-9a-f]{64})-([0-9a-f]{8})", text)
    if not match:
        raise Refused("not a Cairn key file")
    key = bytes.fromhex(match[1])
    if sha256(key).hex()[:8] != match[2]:
        raise Refused("the key file's checksum does not fit: a mistyped or damaged digit")
    return key


def parse_recovery(text):
    match = match_text("cairn-recovery-1-([0-9a-f]{32})-([0-9a-f]{64})-([0-9a-f]{8})", text)
    if not match:
        raise Refused("not a Cairn recovery text")
    archive, root = bytes.fromhex(match[1]), bytes.fromhex(match[2])
    if sha256(archive + root).hex()[:8] != match[3]:
        raise Refused("the recovery text's checksum does not fit: a mistyped digit")
    return archive, root


def find_root_key(members, archive, args):
    if args.recovery:
        named, root = parse_recovery(args.recovery)
        if named != archive:
            raise WrongKey("this recovery text is for another archive")
        return root
    if args.key_file:
        with open(args.key_file, encoding="utf-8") as f:
            secret = parse_key_file(f.read(64 * KIB))
        kind, make = 2, lambda header: hkdf(secret, header[7], b"cairn/v1/keyfile")
    else:
        kind, make = 1, lambda header: password_key(header, os.fsencode(args.password))
    tried, refusal = set(), None
    for name, member in names_of(members, "keys", "[0-9a-f]{32}"):
        try:
            with reading(f"key slot {name} on {member.folder}"):
                slot = parse_slot(read_object(os.path.join(member.folder, "keys", name), 64 * KIB))
                need(slot.header[2].hex() == name, "is another slot than its name says")
                fits = slot.header[3] == kind and slot not in tried
        except (Damage, Refused) as e:
            warn(str(e))
            continue
        if fits:   # an equal copy is not tried again: a password takes a second
            tried.add(slot)
            try:
                with reading(f"key slot {name}"):
                    return open_slot(slot, archive, make(slot.header))
            except Refused as e:
                refusal = e
            except Damage:
                pass   # the slot of another password, or changed: AES-GCM cannot tell
    raise refusal or WrongKey(f"no key slot opens with this {'key file' if kind == 2 else 'password'} "
                              f"({len(tried)} tried)")
