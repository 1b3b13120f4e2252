"""Image files: ``docs/formats.md``, "Canonical image files".

We write all type definitions with fixed ids, then one message with the image, then
the SHA-512 of all that. Other implementations read that like any other image file;
we can send the bytes of the image from the file, without looking at them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs

from imageserver import gob
from imageserver.errors import CorruptImage, GobDecodeError
from imageserver.gob import uint_bytes
from imageserver.model.image import Image
from imageserver.model.image_messages import GetImageResponse

CHECKSUM_BYTES = 64
FILE_LIMITS = gob.Limits(message_bytes=1 << 30)

_IMAGE = gob.Struct(Image)
_encoder = gob.Encoder()
_DEFINITIONS = _encoder.define(Image)
_IMAGE_ID = _encoder.type_id(Image)
_RESPONSE_DEFINITIONS = _DEFINITIONS + _encoder.define(GetImageResponse)
_RESPONSE_ID = _encoder.type_id(GetImageResponse)
_FIRST_FIELD = b"\1"
_END = b"\0"


def _id_bytes(id_: int) -> bytes:
    return uint_bytes(id_ << 1)


@attrs.frozen
class ImageFile:
    """An image file in memory.

    Attributes:
        pieces: its content, in order.
        value_offset: where the image's value begins in it.
        value_bytes: the length of the value.
        file_system_offset: where in the value the file system's field begins.
    """

    pieces: tuple[bytes, ...]
    value_offset: int
    value_bytes: int
    file_system_offset: int


def make_image_file(image: Image) -> ImageFile:
    """The file for an image."""
    encoder = gob.Encoder()
    encoder.define(Image)
    value = bytearray()
    encoder.write_value(value, image, _IMAGE)
    bare = bytearray()
    encoder.write_value(bare, gob.evolve(image, file_system=None), _IMAGE)
    type_id = _id_bytes(_IMAGE_ID)
    head = _DEFINITIONS + uint_bytes(len(type_id) + len(value)) + type_id
    digest = hashlib.sha512(head)
    digest.update(value)
    return ImageFile(
        (head, bytes(value), digest.digest()),
        len(head),
        len(value),
        len(bare) - len(_END),
    )


@attrs.frozen
class StoredImage:
    """An image as it was read from its file.

    Attributes:
        image: the image.
        is_canonical: whether we wrote the file.
        has_checksum: whether the file ends in a checksum; very old ones do not.
    """

    image: Image
    is_canonical: bool
    has_checksum: bool


def read_image_file(name: str, path: Path) -> StoredImage:
    """Read and verify an image file, whoever wrote it.

    Raises:
        CorruptImage: it is not an image file, or damaged.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        decoded = gob.decode(data, Image, FILE_LIMITS)
    except GobDecodeError as error:
        raise CorruptImage(name, str(error)) from error
    trailer = data[decoded.end : decoded.end + CHECKSUM_BYTES]
    if trailer:
        digest = hashlib.sha512(memoryview(data)[: decoded.end]).digest()
        if digest != trailer:
            raise CorruptImage(name, "checksum mismatch")
    return StoredImage(decoded.value, data.startswith(_DEFINITIONS), bool(trailer))


def response_head(value_bytes: int) -> bytes:
    """What stands in front of an image's value in the response of GetImage.

    Args:
        value_bytes: length of the value that will follow; after it comes
            :data:`RESPONSE_END`.
    """
    type_id = _id_bytes(_RESPONSE_ID)
    length = len(type_id) + len(_FIRST_FIELD) + value_bytes + len(RESPONSE_END)
    return _RESPONSE_DEFINITIONS + uint_bytes(length) + type_id + _FIRST_FIELD


RESPONSE_END = _END
"""What ends the response of GetImage."""

VALUE_END = _END
"""What ends an image's value that is cut off in front of its file system."""
