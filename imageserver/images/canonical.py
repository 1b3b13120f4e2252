"""Image files: ``docs/formats.md``, "Canonical image files".

We write all type definitions with fixed ids, then one message with the image, then
the SHA-512 of all that. Other implementations read that like any other image file;
we can send the bytes of the image from the file, without looking at them.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from imageserver import gob
from imageserver.errors import (
    CorruptImage,
    GobDecodeError,
    GobTypeError,
    InvalidImage,
)
from imageserver.gob import Time, uint_bytes
from imageserver.images.admission import Admitted
from imageserver.model.file_system import ScannedFileSystem
from imageserver.model.image import Image, ImageMetadata, ScannedImage
from imageserver.model.image_messages import AddImageRequest, GetImageResponse
from imageserver.model.inode_scan import TABLE

CHECKSUM_BYTES = 64
FILE_LIMITS = gob.Limits(message_bytes=1 << 30)
_FILE_BYTES = 2 * FILE_LIMITS.message_bytes  # room for definitions and the checksum

_encoder = gob.Encoder()
_DEFINITIONS = _encoder.define(TABLE) + _encoder.define(Image)
_IMAGE_ID = _encoder.type_id(Image)
_RESPONSE_DEFINITIONS = _DEFINITIONS + _encoder.define(GetImageResponse)
_RESPONSE_ID = _encoder.type_id(GetImageResponse)
_REQUEST_DEFINITIONS = _DEFINITIONS + _encoder.define(AddImageRequest)
_REQUEST_ID = _encoder.type_id(AddImageRequest)
_FIRST_FIELD = _NEXT_FIELD = b"\1"
_END = b"\0"
_FIELD_NUMBER = b"\1"  # or another byte
_EMPTY_FILE_SYSTEM = b"\5\0\0"  # nothing but an empty root, which is never left out


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

    pieces: tuple[bytes | bytearray, ...]
    value_offset: int
    value_bytes: int
    file_system_offset: int

    @property
    def checksum(self) -> bytes:
        """What the file ends in."""
        return bytes(self.pieces[-1])

    @property
    def file_bytes(self) -> int:
        """The size of the file."""
        return sum(map(len, self.pieces))


def make_image_file(admitted: Admitted) -> ImageFile:
    """The file for an image that was checked; its totals are made right.

    Raises:
        InvalidImage: it holds a value that cannot be stored.
    """
    metadata = _metadata_bytes(admitted.image)
    return _put_together(metadata, [*_file_system_pieces(admitted), _END])


def with_expiration(
    stored: bytes, value_offset: int, file_system_offset: int, expires_at: Time
) -> ImageFile:
    """The file of an image with another expiration; the file system stays as it is.

    Args:
        stored: the canonical file that there is.
        value_offset: where the value begins in it.
        file_system_offset: where in the value the file system's field begins.
        expires_at: the new expiration.

    Raises:
        GobDecodeError: it is not what it should be.
    """
    rest = value_offset + file_system_offset
    image = read_bare(stored[value_offset:rest])
    metadata = _metadata_bytes(
        ScannedImage(
            **{
                field.attribute: getattr(image, field.attribute)
                for field in gob.struct_info(ImageMetadata).fields
                if field.attribute != "expires_at"
            },
            expires_at=expires_at,
        )
    )
    file_system = stored[rest + len(_FIELD_NUMBER) : -CHECKSUM_BYTES]
    return _put_together(metadata, [file_system])


def read_bare(value: bytes) -> Image:
    """An image without its file system.

    Args:
        value: its value, up to where the file system's field begins.

    Raises:
        GobDecodeError: it is not what it should be.
    """
    end = response_end()
    head = response_head(len(value + VALUE_END), end)
    response: GetImageResponse = gob.decode(
        head + value + VALUE_END + end, GetImageResponse, FILE_LIMITS
    ).value
    assert response.image is not None  # noqa: S101 - it stands in these bytes
    return response.image


def _metadata_bytes(image: ScannedImage) -> bytes:
    """The beginning of an image's value, with the number of the file system's field."""
    metadata = _encode(gob.evolve(image, file_system=ScannedFileSystem()))
    return bytes(metadata[: -len(_EMPTY_FILE_SYSTEM + _END)])


def _put_together(
    metadata: bytes, file_system: Iterable[bytes | bytearray]
) -> ImageFile:
    """A file of what :func:`_metadata_bytes` gives, and what follows up to its end."""
    pieces = [metadata, *file_system]
    value_bytes = sum(map(len, pieces))
    type_id = _id_bytes(_IMAGE_ID)
    head = _DEFINITIONS + uint_bytes(len(type_id) + value_bytes) + type_id
    digest = hashlib.sha512(head)
    for piece in pieces:
        digest.update(piece)
    return ImageFile(
        (head, *pieces, digest.digest()),
        len(head),
        value_bytes,
        len(metadata) - len(_FIELD_NUMBER),
    )


def _file_system_pieces(admitted: Admitted) -> Iterator[bytes | bytearray]:
    """A file system in our encoding, its table as it was scanned."""
    file_system, summary = admitted.image.file_system, admitted.summary
    assert file_system is not None  # noqa: S101 - it was measured
    table = file_system.inodes
    rest = _encode(
        ScannedFileSystem(
            None,
            summary.regular_count,
            summary.data_bytes,
            summary.directory_count,
            file_system.root,
        )
    )
    if table is not None:
        yield _FIRST_FIELD
        yield from table.encoded
        rest[0] -= 1  # the first of these fields follows the table
    yield rest


def _encode(value: ScannedImage | ScannedFileSystem) -> bytearray:
    encoded = bytearray()
    try:
        _encoder.write_value(encoded, value, gob.Struct(type(value)))
    except GobTypeError as error:
        raise InvalidImage(f"malformed image: {error}") from error
    return encoded


@attrs.frozen
class StoredImage:
    """An image as it was read from its file.

    Attributes:
        image: the image.
        checksum: what the file ends in; very old ones have none.
        file_bytes: the size of the file.
    """

    image: ScannedImage
    checksum: bytes
    file_bytes: int

    def is_canonical(self, image_file: ImageFile) -> bool:
        """Whether the file is the one that we would write."""
        canonical = image_file.checksum, image_file.file_bytes
        return (self.checksum, self.file_bytes) == canonical


def read_image_file(name: str, path: Path) -> StoredImage:
    """Read and verify an image file, whoever wrote it.

    Raises:
        CorruptImage: it is not an image file, or damaged.
        OSError: it cannot be read, or is too large for an image.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _FILE_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        data = file.read()
    try:
        decoded = gob.decode(data, ScannedImage, FILE_LIMITS)
    except GobDecodeError as error:
        raise CorruptImage(name, str(error)) from error
    trailer = data[decoded.end : decoded.end + CHECKSUM_BYTES]
    if trailer:
        digest = hashlib.sha512(memoryview(data)[: decoded.end]).digest()
        if digest != trailer:
            raise CorruptImage(name, "checksum mismatch")
    return StoredImage(decoded.value, trailer, len(data))


def add_request(name: str, image_file: ImageFile) -> list[bytes | bytearray]:
    """The request that adds an image to another server, in pieces."""
    type_id, encoded_name = _id_bytes(_REQUEST_ID), name.encode()
    head = b"".join(
        (
            type_id,
            _FIRST_FIELD,
            uint_bytes(len(encoded_name)),
            encoded_name,
            _NEXT_FIELD,
        )
    )
    length = len(head) + image_file.value_bytes + len(_END)
    first = _REQUEST_DEFINITIONS + uint_bytes(length) + head
    return [first, *image_file.pieces[1:-1], _END]


def response_head(value_bytes: int, end: bytes) -> bytes:
    """What stands in front of an image's value in the response of GetImage.

    Args:
        value_bytes: length of the value that will follow.
        end: what comes after it: of :func:`response_end`.
    """
    type_id = _id_bytes(_RESPONSE_ID)
    length = len(type_id) + len(_FIRST_FIELD) + value_bytes + len(end)
    return _RESPONSE_DEFINITIONS + uint_bytes(length) + type_id + _FIRST_FIELD


def response_end(address: str = "") -> bytes:
    """What ends the response of GetImage.

    Args:
        address: of a page about the image; may be empty.
    """
    if not address:
        return _END
    encoded = address.encode()
    return _NEXT_FIELD + uint_bytes(len(encoded)) + encoded + _END


VALUE_END = _END
"""What ends an image's value that is cut off in front of its file system."""
