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
