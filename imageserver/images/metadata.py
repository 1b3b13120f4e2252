"""Metadata of directories: ``docs/formats.md``, "Directory metadata"."""

from __future__ import annotations

import hashlib
from pathlib import Path

from imageserver import gob
from imageserver.disk import Disk
from imageserver.errors import CorruptImage, GobDecodeError
from imageserver.model.image import DirectoryMetadata

FILE_NAME = ".metadata"
_CHECKSUM_BYTES = 64
_FILE_LIMIT = 64 << 10


def read_metadata(name: str, directory: Path) -> DirectoryMetadata:
    """The metadata of a directory; without a file all is empty.

    Raises:
        CorruptImage: the file is damaged.
        OSError: the file cannot be read.
    """
    try:
        with (directory / FILE_NAME).open("rb") as file:
            data = file.read(_FILE_LIMIT)
    except FileNotFoundError:
        return DirectoryMetadata()
    try:
        decoded = gob.decode(data, DirectoryMetadata)
    except GobDecodeError as error:
        raise CorruptImage(f"{name}/{FILE_NAME}", str(error)) from error
    # Bytes behind the checksum are left over from a longer record.
    checksum = data[decoded.end : decoded.end + _CHECKSUM_BYTES]
    if hashlib.sha512(data[: decoded.end]).digest() != checksum:
        raise CorruptImage(f"{name}/{FILE_NAME}", "checksum mismatch")
    metadata: DirectoryMetadata = decoded.value
    return metadata


def write_metadata(disk: Disk, directory: Path, metadata: DirectoryMetadata) -> None:
    """Store the metadata of a directory, durably; none is stored as no file.

    Raises:
        OSError: it cannot be stored.
    """
    path = directory / FILE_NAME
    if metadata.owner_group:
        data = gob.Encoder().encode(metadata)
        disk.save(path, (data, hashlib.sha512(data).digest()))
    else:
        disk.remove(path)
        disk.sync(directory)
