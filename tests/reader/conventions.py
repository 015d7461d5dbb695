"""Errors, and the conventions at the head of docs/format.md: hashes, AES-GCM, deterministic CBOR, zstd."""
import contextlib
import hashlib
import hmac
import struct
import sys

import cbor2
import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KIB, MIB = 1 << 10, 1 << 20
DATA, TREE, INDEX = 1, 2, 3   # types of blobs, kinds of packs (§4)


class Damage(Exception):
    """Bytes are missing or are not what they should be."""


class Refused(Exception):
    """Not something this reader may or can work with."""


class NeedsHPKE(Exception):
    """Written with a writer key: only an HPKE wrap leads to the session key."""


class WrongKey(Exception):
    """No key slot opens with what was given."""


@contextlib.contextmanager
def reading(what):
    """Whatever a malformed object makes Python raise becomes a Damage that names the object."""
    try:
        yield
    except Damage as e:
        raise Damage(f"{what}: {e}") from None
    except InvalidTag:
        raise Damage(f"{what}: does not open with this key") from None
    except InvalidSignature:
        raise Damage(f"{what}: wrong signature") from None
    except (LookupError, TypeError, ValueError, AttributeError, struct.error, RecursionError, MemoryError,
            zstandard.ZstdError, cbor2.CBORError) as e:
        raise Damage(f"{what}: malformed: {type(e).__name__} {e}") from None


def need(condition, problem):
    if not condition:
        raise Damage(problem)


def warn(text):
    print("reader: " + text, file=sys.stderr)


def shown(name):
    """A name for people: UTF-8 where it is, other bytes and control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode()
                   for c in name.decode("utf-8", "backslashreplace"))


# ---- conventions -----------------------------------------------------------------------------------------

def sha256(data):
    return hashlib.sha256(data).digest()


def mac(key, message):
    return hmac.digest(key, message, "sha256")


def hkdf(secret, salt, info):
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(secret)


def unseal(key, sealed, aad):
    """AES-256-GCM; sealed = nonce ‖ ciphertext ‖ tag."""
    need(len(sealed) >= 28, "shorter than a nonce and a tag")
    return AESGCM(key).decrypt(sealed[:12], sealed[12:], aad)


def uncbor(data):
    """Deterministic CBOR: whatever does not encode to the same bytes again had duplicate keys, indefinite
    lengths, long integers, another order of keys, or trailing bytes."""
    value = cbor2.loads(data)
    need(cbor2.dumps(value, canonical=True) == data, "not deterministic CBOR")
    return value


def unzstd(data, limit):
    """One frame that states its size, and nothing behind it."""
    need(0 <= zstandard.frame_content_size(data) <= limit, "zstd frame without a size, or too large")
    frame = zstandard.ZstdDecompressor().decompressobj()
    plain = frame.decompress(data)
    need(not frame.unused_data, "something behind the zstd frame")
    return plain


def pieces(joined, size=32):
    """A byte string of joined ids, taken apart."""
    need(isinstance(joined, bytes) and len(joined) % size == 0, "not a whole number of ids")
    return [joined[i:i + size] for i in range(0, len(joined), size)]
