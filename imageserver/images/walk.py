"""Going through the files of images: ``docs/formats.md``, "Images"."""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

from imageserver.errors import InvalidName
from imageserver.images.metadata import FILE_NAME
from imageserver.model.names import ROOT, check_stored_name


class FileKind(enum.Enum):
    """What a file is."""

    IMAGE = enum.auto()
    DIRECTORY = enum.auto()
    TEMPORARY = enum.auto()
    """Some write did not come to its end."""
    MISNAMED = enum.auto()
    """It may be or hold images, but has a name that none can have."""
    UNREADABLE = enum.auto()
    """A directory that cannot be read; nobody knows what is in it."""


@attrs.frozen
class Found:
    """A file or directory.

    Attributes:
        name: what it is called as an image or a directory of images.
        kind: what it is.
        status: what the system says of it.
        reason: what is wrong with it, if something is.
    """

    name: str
    kind: FileKind
    status: os.stat_result
    reason: str = ""


def walk_images(root: Path) -> Iterator[Found]:
    """All that matters below the directory of images, each directory before its files.

    Hidden things are left out, and so are names of deleted images, and what is neither
    a file nor a directory.

    Raises:
        OSError: the directory itself cannot be read.
    """
    pending = [Found(ROOT, FileKind.DIRECTORY, os.stat(root))]
    for directory in pending:  # grows while it is walked
        try:
            entries = _entries(root / directory.name)
        except OSError as error:
            if directory.name == ROOT:
                raise
            reason = error.strerror or "unreadable"
            yield attrs.evolve(directory, kind=FileKind.UNREADABLE, reason=reason)
            continue
        yield directory
        for name, status in entries:
            full_name = name if directory.name == ROOT else f"{directory.name}/{name}"
            found = _identify(name, full_name, status)
            if found is None:
                continue
            if found.kind is FileKind.DIRECTORY:
                pending.append(found)
            else:
                yield found


def _entries(directory: Path) -> list[tuple[str, os.stat_result]]:
    with os.scandir(directory) as entries:
        return [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]


def _identify(name: str, full_name: str, status: os.stat_result) -> Found | None:
    """What a file is; ``None``: it does not matter."""
    is_file = stat.S_ISREG(status.st_mode)
    if is_file and _is_temporary(name):
        return Found(full_name, FileKind.TEMPORARY, status)
    # An empty file keeps the name of a deleted image.
    is_image = is_file and status.st_size > 0
    if name.startswith(".") or not (is_image or stat.S_ISDIR(status.st_mode)):
        return None
    try:
        check_stored_name(full_name)
    except InvalidName as error:
        return Found(full_name, FileKind.MISNAMED, status, str(error))
    return Found(full_name, FileKind.IMAGE if is_image else FileKind.DIRECTORY, status)


def _is_temporary(file_name: str) -> bool:
    if file_name.startswith("."):
        return file_name == f"{FILE_NAME}~"
    return file_name.endswith("~")
