"""Making directories of images: each appears together with its owner group."""

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
_UNFINISHED = ".new"


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


def remove_unfinished(disk: Disk, root: Path) -> None:
    """Remove what was left by a crash while a directory was being made.

    Raises:
        OSError: that fails.
    """
    unfinished = root / _UNFINISHED
    if unfinished.exists():
        disk.remove(unfinished / FILE_NAME)
        disk.remove(unfinished / f"{FILE_NAME}~")
        disk.remove_directory(unfinished)
