"""Going through the files of objects: ``docs/formats.md``, "Objects"."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs

PIECES = 256
_HEX = frozenset("0123456789abcdef")
_REST_DIGITS = 124


@attrs.frozen
class Found:
    """A file or directory.

    Attributes:
        path: where it is.
        status: what the system says of it; ``None`` for a directory.
        hash_: the object; ``None``: it is none.
        is_temporary: whether some program has not come to the end of writing it.
    """

    path: Path
    status: os.stat_result | None = None
    hash_: bytes | None = None
    is_temporary: bool = False


def walk_objects(root: Path, number: int) -> Iterator[Found]:
    """All that is there where objects are whose hashes begin with one byte.

    Hidden things are left out. What lies beside all objects comes with the first byte.

    Args:
        root: the directory of objects.
        number: the byte.

    Raises:
        OSError: a directory cannot be read.
    """
    if number == 0:
        for entry in _entries(root):
            if not entry.name.startswith(".") and not _is_directory(entry):
                yield Found(Path(entry.path))
    top = root / f"{number:02x}"
    if top.is_symlink() or not top.is_dir():
        return
    for middle in _entries(top):
        if not _is_directory(middle):
            yield Found(Path(middle.path))
            continue
        for entry in _entries(Path(middle.path)):
            with suppress(FileNotFoundError):  # it went away meanwhile
                yield _identify(top.name + middle.name, entry)


def _identify(beginning: str, entry: os.DirEntry[str]) -> Found:
    path, status = Path(entry.path), entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        return Found(path, status)
    if entry.name.endswith("~"):
        return Found(path, status, is_temporary=True)
    if _is_hex(entry.name, _REST_DIGITS):
        return Found(path, status, bytes.fromhex(beginning + entry.name))
    return Found(path, status)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether objects may be in it."""
    return _is_hex(entry.name, 2) and entry.is_dir(follow_symlinks=False)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _is_hex(name: str, digits: int) -> bool:
    return len(name) == digits and set(name) <= _HEX
