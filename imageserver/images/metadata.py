"""Metadata of directories: ``docs/formats.md``, "Directory metadata"."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

from imageserver import gob
from imageserver.disk import Disk
from imageserver.errors import CorruptImage, GobDecodeError
from imageserver.model.image import DirectoryMetadata

FILE_NAME = ".metadata"
_CHECKSUM_BYTES = 64
_FILE_LIMIT = 64 << 10
_NOT_REGULAR = frozenset({errno.ELOOP, errno.ENXIO})  # a symbolic link, a socket


def read_metadata(name: str, directory: Path) -> DirectoryMetadata:
    """The metadata of a directory; without a file all is empty.

    Raises:
        CorruptImage: the file is damaged.
        OSError: the file cannot be read.
    """
    full_name = f"{name}/{FILE_NAME}"
    try:
        data = _read_regular(full_name, directory / FILE_NAME)
    except FileNotFoundError:
        return DirectoryMetadata()
    try:
        decoded = gob.decode(data, DirectoryMetadata)
    except GobDecodeError as error:
        raise CorruptImage(full_name, str(error)) from error
    # Bytes behind the checksum are left over from a longer record.
    checksum = data[decoded.end : decoded.end + _CHECKSUM_BYTES]
    if hashlib.sha512(data[: decoded.end]).digest() != checksum:
        raise CorruptImage(full_name, "checksum mismatch")
    metadata: DirectoryMetadata = decoded.value
    try:
        metadata.owner_group.encode()
    except UnicodeEncodeError as error:
        raise CorruptImage(full_name, "owner group is not UTF-8") from error
    return metadata


def _read_regular(full_name: str, path: Path) -> bytes:
    """The beginning of a regular file; nothing else is waited for, or followed."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            raise CorruptImage(full_name, "not a regular file") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CorruptImage(full_name, "not a regular file")
        return os.read(descriptor, _FILE_LIMIT)
    finally:
        os.close(descriptor)


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
