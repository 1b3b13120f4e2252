"""Directories of images: each appears, and goes away, together with its owner group."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from imageserver.disk import Disk
from imageserver.errors import RequestError
from imageserver.images.metadata import FILE_NAME, write_metadata
from imageserver.model.image import DirectoryMetadata

_MODE = 0o755
_METADATA_FILES = (FILE_NAME, f"{FILE_NAME}~")
_UNFINISHED = ".new"
_REMOVED = ".removed"


def place_directory(disk: Disk, root: Path, name: str, owner_group: str) -> None:
    """Make a directory, durably; one that is there already is given to the group.

    Used by one thread at a time.

    Args:
        disk: does it.
        root: the directory of all images.
        name: the new directory's name below it.
        owner_group: its owner group; may be empty.

    Raises:
        RequestError: a file has that name.
        OSError: it cannot be made.
    """
    path = root / name
    metadata = DirectoryMetadata(owner_group)
    status = None
    with suppress(FileNotFoundError):
        status = os.lstat(path)
    if status is None:
        unfinished = root / _UNFINISHED
        remove_unfinished(disk, root)
        disk.make_directory(unfinished, _MODE)
        write_metadata(disk, unfinished, metadata)
        disk.rename(unfinished, path)
    elif stat.S_ISDIR(status.st_mode):
        write_metadata(disk, path, metadata)
    else:
        raise RequestError(f"an image has this name: {name}")
    disk.sync(path.parent)


def remove_directory(disk: Disk, root: Path, name: str) -> None:
    """Remove a directory, durably, with the names of images that were deleted in it.

    Used by one thread at a time.

    Args:
        disk: does it.
        root: the directory of all images.
        name: the directory's name below it.

    Raises:
        RequestError: there is something else in it.
        OSError: it cannot be removed.
    """
    path = root / name
    with os.scandir(path) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            is_tombstone = stat.S_ISREG(status.st_mode) and status.st_size == 0
            if not (is_tombstone or entry.name in _METADATA_FILES):
                raise RequestError(f"directory: {name} not empty")
    removed = root / _REMOVED
    _clear(disk, removed)
    disk.rename(path, removed)
    disk.sync_all({path.parent, root})
    _clear(disk, removed)


def _clear(disk: Disk, directory: Path) -> None:
    """Remove a directory that holds nothing of value."""
    if directory.exists():
        for path in list(directory.iterdir()):
            disk.remove(path)
        disk.remove_directory(directory)


def remove_unfinished(disk: Disk, root: Path) -> None:
    """Remove what was left by a crash while a directory was being made or removed.

    Raises:
        OSError: that fails.
    """
    _clear(disk, root / _REMOVED)
    unfinished = root / _UNFINISHED
    if unfinished.exists():
        disk.remove(unfinished / FILE_NAME)
        disk.remove(unfinished / f"{FILE_NAME}~")
        disk.remove_directory(unfinished)
