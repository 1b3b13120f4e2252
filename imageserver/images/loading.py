"""Bringing the index in line with the image files, at start-up.

Files that the index knows are compared by their size, time and inode number alone;
what is new is read. An image that went away or changed while nobody watched leaves
references behind that nobody can tell: then all images are read anew. So they are if
the index turns out to be damaged.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
from twisted.logger import Logger

from imageserver.errors import ConfigError, CorruptImage, InvalidName, StoreError
from imageserver.images.database import ImageDatabase
from imageserver.images.directories import remove_unfinished
from imageserver.images.metadata import FILE_NAME, read_metadata
from imageserver.images.records import is_file_of
from imageserver.index.base import ImageRecord
from imageserver.model.names import ROOT, check_image_name

QUARANTINE = ".quarantine"
_NAME_BYTES = 255


@attrs.define
class Progress:
    """How far loading has come.

    Attributes:
        total: image files to read.
        done: those that were read.
        finished: whether everything is loaded.
    """

    total: int = 0
    done: int = 0
    finished: bool = False


class Loading:
    """Loads the image database."""

    _log = Logger()

    def __init__(self, database: ImageDatabase) -> None:
        self._database = database
        self.progress = Progress()
        self._stopping = False

    def stop(self) -> None:
        """Load no further images; may be called from another thread."""
        self._stopping = True

    def run(self) -> None:
        """Load everything. Damaged files are put aside; the rest is there.

        Raises:
            ConfigError: the image directory cannot be read.
            StoreError: the index fails.
        """
        database = self._database
        try:
            remove_unfinished(database.disk, database.directory)
        except OSError as error:
            self._log_failure("clean up", error)
        try:
            directories, files = self._walk()
        except OSError as error:
            raise ConfigError(
                f"cannot use image directory {error.filename or database.directory}:"
                f" {error.strerror}"
            ) from error
        database.quarantined = self._count_quarantined()
        try:
            self._load(directories, files)
        except StoreError:
            if not database.index.rebuild_if_damaged():
                raise
            self._load(directories, files)

    def _load(self, directories: list[str], files: dict[str, os.stat_result]) -> None:
        """Bring the index in line with what was found."""
        database = self._database
        known = {record.name: record for record in database.index.images()}
        if any(not _is_known(r, files.get(r.name)) for r in known.values()):
            self._log.warn("images were changed by somebody else: reading all of them")
            database.index.forget_images()
            known = {}
        self._load_directories(directories)
        for record in known.values():
            if record.is_being_rewritten:
                self._look_again(record)
        new = sorted(files.keys() - known.keys())
        self.progress.total, self.progress.done = len(new), 0
        for name in new:
            if self._stopping:
                return
            self._load_image(name)
            self.progress.done += 1
        database.expire()
        self.progress.finished = True
        self._log.info(
            "loaded {images} images, {new} of them read",
            images=len(files),
            new=len(new),
        )

    def _walk(self) -> tuple[list[str], dict[str, os.stat_result]]:
        """Names of all directories that can be read, and the image files."""
        directories = []
        files = {}
        found = [ROOT]
        for name in found:  # grows while it is walked
            try:
                entries = self._entries(name)
            except OSError as error:
                if name == ROOT:
                    raise
                self._log_failure("read directory", error)
                continue
            directories.append(name)
            for entry, status in entries:
                full_name = entry.name if name == ROOT else f"{name}/{entry.name}"
                if stat.S_ISREG(status.st_mode) and _is_temporary(entry.name):
                    self._remove(Path(entry.path))
                elif not self._is_ours(entry.name, full_name, status):
                    continue
                elif stat.S_ISDIR(status.st_mode):
                    found.append(full_name)
                else:
                    files[full_name] = status
        return directories, files

    def _entries(self, directory: str) -> list[tuple[os.DirEntry[str], os.stat_result]]:
        with os.scandir(self._database.path(directory)) as entries:
            return [(entry, entry.stat(follow_symlinks=False)) for entry in entries]

    def _is_ours(self, name: str, full_name: str, status: os.stat_result) -> bool:
        """Whether something is an image or a directory of images."""
        if name.startswith("."):
            return False
        is_image = stat.S_ISREG(status.st_mode) and status.st_size > 0
        # An empty file keeps the name of a deleted image.
        return (is_image or stat.S_ISDIR(status.st_mode)) and self._is_valid(full_name)

    def _remove(self, path: Path) -> None:
        try:
            self._database.disk.remove(path)
        except OSError as error:
            self._log_failure("clean up", error)

    def _log_failure(self, action: str, error: OSError) -> None:
        self._log.error(
            "cannot {action} {path}: {error}",
            action=action,
            path=error.filename,
            error=error.strerror,
        )

    def _is_valid(self, name: str) -> bool:
        try:
            check_image_name(name)
        except InvalidName as error:
            self._log.warn("left out of the images: {error}", error=error)
            return False
        return True

    def _load_directories(self, names: list[str]) -> None:
        index = self._database.index
        owner_groups = {name: self._owner_group(name) for name in names}
        if index.directories() != owner_groups:
            index.set_directories(owner_groups)  # at once: each change waits for a disk

    def _owner_group(self, directory: str) -> str:
        path = self._database.path(directory)
        try:
            return read_metadata(directory, path).owner_group
        except CorruptImage as error:
            self._put_aside(path / FILE_NAME, str(error))
        except OSError as error:
            self._log.error(
                "cannot read metadata of directory {name}: {error}",
                name=directory,
                error=error.strerror,
            )
        return ""

    def _load_image(self, name: str) -> None:
        self._load_file(name, partial(self._database.files.take_over, name))

    def _look_again(self, record: ImageRecord) -> None:
        """Load an image that the index knows, but perhaps not as it is now."""
        files = self._database.files
        if not self._load_file(record.name, partial(files.look_again, record)):
            # Its references stay: objects are kept too long.
            self._database.index.remove_image(record.name, {})

    def _load_file(self, name: str, load: Callable[[], None]) -> bool:
        """Load an image; whether it is of use."""
        try:
            load()
        except CorruptImage as error:
            self._put_aside(self._database.path(name), str(error))
            return False
        except OSError as error:
            self._log.error(
                "cannot load image {name}: {error}", name=name, error=error.strerror
            )
            return False
        return True

    def _put_aside(self, path: Path, reason: str) -> None:
        database = self._database
        aside = database.directory / QUARANTINE
        name = _flat_name(path.relative_to(database.directory))
        try:
            database.disk.make_directory(aside, 0o700)
            database.disk.rename(path, aside / name)
            database.disk.sync_all((aside, path.parent))
        except OSError as error:
            self._log.error(
                "cannot put aside: {reason}: {error}",
                reason=reason,
                error=error.strerror,
            )
        else:
            database.quarantined += 1
            self._log.error("put aside as {name}: {reason}", name=name, reason=reason)

    def _count_quarantined(self) -> int:
        try:
            return len(os.listdir(self._database.directory / QUARANTINE))
        except FileNotFoundError:
            return 0
        except OSError as error:
            self._log_failure("use", error)
            return 0


def _is_known(record: ImageRecord, status: os.stat_result | None) -> bool:
    """Whether a file (``None``: none) has the references that the index has."""
    if record.is_being_rewritten:
        return status is not None
    return is_file_of(status, record)


def _is_temporary(file_name: str) -> bool:
    """Whether a file was left by a write that did not come to its end."""
    if file_name.startswith("."):
        return file_name == f"{FILE_NAME}~"
    return file_name.endswith("~")


def _flat_name(path: Path) -> str:
    """One component to keep a file under, whatever the length of its path."""
    name = str(path).replace("/", "%")
    if len(os.fsencode(name)) > _NAME_BYTES:
        return hashlib.sha256(os.fsencode(name)).hexdigest()
    return name
