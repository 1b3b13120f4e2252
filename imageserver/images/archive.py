"""Archives, signed copies of images: ``docs/formats.md``, "Archives".

An archive is split by length: the signature is what comes last, wherever the gob ends.
"""

from __future__ import annotations

import hashlib
import hmac

import attrs

from imageserver import gob
from imageserver.errors import DecodeError, InvalidImage
from imageserver.gob import uint_bytes
from imageserver.images.canonical import FILE_LIMITS
from imageserver.model.image import (
    Image,
    ImageArchive,
    ScannedImage,
    ScannedImageArchive,
)
from imageserver.model.inode_scan import TABLE

SIGNATURE_BYTES = 64

# In this order the image's types have the ids that they have in canonical files.
_encoder = gob.Encoder()
_DEFINITIONS = (
    _encoder.define(TABLE) + _encoder.define(Image) + _encoder.define(ImageArchive)
)
_ID = uint_bytes(_encoder.type_id(ImageArchive) << 1)
_NEXT_FIELD = b"\1"
_END = b"\0"


def make_archive(name: str, value: bytes, key: bytes) -> bytes:
    """The archive of an image.

    Args:
        name: its name.
        value: its value, as canonical files have it.
        key: signs the archive.
    """
    encoded = name.encode()
    head = _ID + _NEXT_FIELD + uint_bytes(len(encoded)) + encoded + _NEXT_FIELD
    length = uint_bytes(len(head) + len(value) + len(_END))
    signed = b"".join((_DEFINITIONS, length, head, value, _END))
    return signed + _sign(signed, key)


@attrs.frozen
class Archive:
    """What is in an archive.

    Attributes:
        name: the name of the image.
        image: the image.
        is_genuine: whether we have signed it.
    """

    name: str
    image: ScannedImage
    is_genuine: bool


def read_archive(data: bytes, key: bytes) -> Archive:
    """Read an archive, whoever has made it.

    Raises:
        InvalidImage: it is none.
    """
    signed, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    try:
        decoded = gob.decode(signed, ScannedImageArchive, FILE_LIMITS)
    except DecodeError as error:
        raise InvalidImage(f"malformed archive: {error}") from error
    if decoded.end != len(signed):
        raise InvalidImage("malformed archive: bytes behind the image")
    archive: ScannedImageArchive = decoded.value
    is_genuine = hmac.compare_digest(_sign(signed, key), signature)
    return Archive(archive.image_name, archive.image, is_genuine)


def _sign(signed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, signed, hashlib.sha512)
