"""Hashes name objects: the SHA-512 of their content, 64 bytes."""

from __future__ import annotations

import hashlib

from imageserver import gob

HASH_BYTES = 64
HASH = gob.ByteArray(HASH_BYTES, "Hash")
NO_HASH = bytes(HASH_BYTES)
"""What an inode without content carries."""


def hash_of(content: bytes) -> bytes:
    """The hash of an object."""
    return hashlib.sha512(content).digest()


def parse_hash(text: str) -> bytes | None:
    """The hash that 128 lower-case hexadecimal digits stand for, else ``None``."""
    if len(text) != 2 * HASH_BYTES or not set(text) <= set("0123456789abcdef"):
        return None
    return bytes.fromhex(text)
