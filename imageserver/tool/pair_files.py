"""A certificate and its key as files: both or none, and the key never readable."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Self

from imageserver.errors import CertificateError
from imageserver.tool.authority import Pair

_DIRECTORY_MODE = 0o700
_CERTIFICATE_MODE = 0o644
_KEY_MODE = 0o600


def write_pair(
    pair: Pair, certificate_path: Path, key_path: Path, *, replace: bool = False
) -> None:
    """Write a pair durably; directories that are missing are made.

    Args:
        pair: the contents.
        certificate_path: may be read by all.
        key_path: may be read by the owner only.
        replace: whether files that are there may be replaced.

    Raises:
        CertificateError: a file is there already.
        OSError: nothing has been written.
    """
    files = {
        key_path: (pair.key, _KEY_MODE),
        certificate_path: (pair.certificate, _CERTIFICATE_MODE),
    }
    if not replace:
        for path in files:
            _refuse_existing(path)
    with _Change() as change:
        for path in files:
            change.make_directory(path.parent)
        written = {path: change.write_beside(path, *files[path]) for path in files}
        for path, temporary in written.items():
            change.place(temporary, path, replace)
        for directory in {path.parent for path in files}:
            _sync_directory(directory)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that may be read by all, durably, whatever was there.

    Raises:
        OSError: the old file is still there.
    """
    with _Change() as change:
        temporary = change.write_beside(path, content, _CERTIFICATE_MODE)
        change.place(temporary, path, replace=True)
        _sync_directory(path.parent)


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise CertificateError(f"there is a {path} already; -force replaces it")


class _Change:
    """Steps that are all undone, the last one first, if one of them fails."""

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        self._temporaries: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_details: object) -> None:
        if kind is not None:
            self._undo.close()
        for path in self._temporaries:
            path.unlink(missing_ok=True)

    def make_directory(self, directory: Path) -> None:
        """Make a directory, and those above it, unless it is there."""
        if directory.is_dir():
            return
        self.make_directory(directory.parent)
        directory.mkdir(_DIRECTORY_MODE)
        self._undo.callback(_remove_directory, directory)
        _sync_directory(directory.parent)

    def write_beside(self, path: Path, content: bytes, mode: int) -> Path:
        """Write a file next to where it is to be."""
        temporary = self._temporary(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(temporary, flags, _KEY_MODE), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return temporary

    def place(self, new: Path, path: Path, replace: bool) -> None:
        """Give a file its name in one step."""
        if replace and os.path.lexists(path):
            old = self._temporary(path)
            os.link(path, old, follow_symlinks=False)
            os.replace(new, path)
            self._undo.callback(os.replace, old, path)
            return
        # Unlike a rename, a link does not replace a file that has just come up.
        try:
            os.link(new, path)
        except FileExistsError:
            _refuse_existing(path)
            raise
        self._undo.callback(path.unlink, missing_ok=True)

    def _temporary(self, path: Path) -> Path:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}~")
        self._temporaries.append(temporary)
        self._undo.callback(temporary.unlink, missing_ok=True)
        return temporary


def _remove_directory(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
