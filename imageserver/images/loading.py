"""Bringing the index in line with the image files, at start-up.

Files that the index knows are compared by their size, time and inode number alone;
what is new is read. An image that went away or changed while nobody watched leaves
references behind that nobody can tell: then all images are read anew.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs
from twisted.logger import Logger

from imageserver.errors import ConfigError, CorruptImage
from imageserver.images.database import ImageDatabase
from imageserver.images.metadata import FILE_NAME, read_metadata
from imageserver.index.base import ImageRecord
from imageserver.model.names import ROOT

QUARANTINE = ".quarantine"


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
        """
        database = self._database
        try:
            directories, files = self._walk()
            database.quarantined = self._count_quarantined()
        except OSError as error:
            raise ConfigError(
                f"cannot read image directory {database.directory}: {error.strerror}"
            ) from error
        known = {record.name: record for record in database.index.images()}
        if any(not _matches(record, files.get(name)) for name, record in known.items()):
            self._log.warn("images were changed by somebody else: reading all of them")
            database.index.forget_images()
            known = {}
        self._load_directories(directories)
        new = sorted(files.keys() - known.keys())
        self.progress.total = len(new)
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
        """Names of all directories, and the image files."""
        directories = [ROOT]
        files = {}
        for name in directories:  # grows while it is walked
            for entry in self._entries(name):
                full_name = entry.name if name == ROOT else f"{name}/{entry.name}"
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    directories.append(full_name)
                elif not stat.S_ISREG(status.st_mode) or status.st_size == 0:
                    continue  # an empty file keeps the name of a deleted image
                elif entry.name.endswith("~"):
                    self._database.disk.remove(Path(entry.path))
                else:
                    files[full_name] = status
        return directories, files

    def _entries(self, directory: str) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self._database.path(directory)) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    entry.name.encode()
                except UnicodeEncodeError:
                    self._log.warn("not an image: {path!r}", path=entry.path)
                    continue
                yield entry

    def _load_directories(self, names: list[str]) -> None:
        index = self._database.index
        known = index.directories()
        for name in known.keys() - set(names):
            index.remove_directory(name)
        for name in names:
            path = self._database.path(name)
            try:
                owner_group = read_metadata(name, path).owner_group
            except CorruptImage as error:
                self._put_aside(path / FILE_NAME, str(error))
                owner_group = ""
            if known.get(name) != owner_group:
                index.add_directory(name, owner_group)

    def _load_image(self, name: str) -> None:
        try:
            self._database.take_over(name)
        except CorruptImage as error:
            self._put_aside(self._database.path(name), str(error))
        except OSError as error:
            self._log.error(
                "cannot load image {name}: {error}", name=name, error=error.strerror
            )

    def _put_aside(self, path: Path, reason: str) -> None:
        database = self._database
        aside = database.directory / QUARANTINE
        name = str(path.relative_to(database.directory)).replace("/", "%")
        database.disk.make_directory(aside, 0o700)
        database.disk.rename(path, aside / name)
        database.disk.sync_all((aside, path.parent))
        database.quarantined += 1
        self._log.error("put aside: {reason}", reason=reason)

    def _count_quarantined(self) -> int:
        try:
            return len(os.listdir(self._database.directory / QUARANTINE))
        except FileNotFoundError:
            return 0


def _matches(record: ImageRecord, status: os.stat_result | None) -> bool:
    return status is not None and (
        record.file_bytes,
        record.file_mtime_ns,
        record.file_inode,
    ) == (status.st_size, status.st_mtime_ns, status.st_ino)
