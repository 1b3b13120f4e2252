"""Bringing the index in line with the image files, at start-up.

Files that the index knows are compared by their size, time and inode number alone;
what is new is read. An image that went away or changed while nobody watched leaves
references behind that nobody can tell: then all images are read anew. So they are if
the index turns out to be damaged.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
from twisted.logger import Logger

from imageserver.errors import ConfigError, CorruptImage, StoreError
from imageserver.images.damaged import may_be_an_image
from imageserver.images.database import ImageDatabase
from imageserver.images.directories import remove_unfinished
from imageserver.images.metadata import FILE_NAME, read_metadata
from imageserver.images.records import is_file_of
from imageserver.images.walk import FileKind, walk_images
from imageserver.index.base import ImageRecord


@attrs.define
class Progress:
    """How far loading has come.

    Attributes:
        total: image files to read.
        done: those that were read.
        finished: whether everything is loaded.
        left_out: images, and directories that may hold some, which could not be loaded.
    """

    total: int = 0
    done: int = 0
    finished: bool = False
    left_out: set[str] = attrs.field(factory=set)


class Loading:
    """Loads the image database.

    Attributes:
        progress: how far it has come.
        pending: names of images whose files have to be read, until they were.
    """

    _log = Logger()

    def __init__(self, database: ImageDatabase) -> None:
        self._database = database
        self.progress = Progress()
        database.left_out = self.progress.left_out
        self.pending: dict[str, None] = {}
        self._lock = threading.Lock()
        self._stopping = False

    def stop(self) -> None:
        """Load no further images; may be called from another thread."""
        self._stopping = True

    def obstacle(self) -> str:
        """Why nobody can tell which objects images use; empty: we can.

        It goes away when somebody has looked after the files.
        """
        if not self.progress.finished:
            return "the images are being loaded"
        database = self._database
        if any(os.path.lexists(database.path(n)) for n in self.progress.left_out):
            return "there are images that could not be loaded"
        names = database.quarantine.names()
        if any(may_be_an_image(name) for name in names):
            return "there are damaged images in quarantine"
        return ""

    def run(self) -> None:
        """Load everything. Damaged files are put aside; the rest is there.

        Raises:
            ConfigError: the image directory cannot be read.
            StoreError: the index fails.
        """
        try:
            self._run()
        except StoreError:
            if not self._database.index.rebuild_if_damaged():
                raise
            self._run()

    def _run(self) -> None:
        self.begin()
        for name in list(self.pending):
            self.load(name)
        self.finish()

    def begin(self) -> None:
        """Bring the index in line with the files, but for those that have to be read.

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
        known = {record.name: record for record in database.index.images()}
        if any(not _is_known(r, files.get(r.name)) for r in known.values()):
            self._log.warn("images were changed by somebody else: reading all of them")
            database.index.forget_images()
            known = {}
        self._load_directories(directories)
        for record in known.values():
            if record.is_being_rewritten:
                self._look_again(record)
        database.expire()
        self.pending.clear()
        self.pending.update(dict.fromkeys(sorted(files.keys() - known.keys())))
        self.progress.total, self.progress.done = len(self.pending), 0

    def load(self, name: str) -> None:
        """Load one of the pending images, if it still is one.

        Raises:
            StoreError: the index fails.
        """
        with self._lock:
            if name in self.pending and not self._stopping:
                self._load_image(name)
                del self.pending[name]
                self.progress.done += 1

    def finish(self) -> None:
        """All pending images were loaded, unless loading was stopped.

        Raises:
            StoreError: the index fails.
        """
        if self.pending:
            return
        self._database.expire()
        self.progress.finished = True
        self._log.info(
            "loaded {images} images, {new} of them read",
            images=self._database.index.image_count(),
            new=self.progress.total,
        )

    def _walk(self) -> tuple[list[str], dict[str, os.stat_result]]:
        """Names of all directories that can be read, and the image files."""
        directories = []
        files = {}
        for found in walk_images(self._database.directory):
            if found.kind is FileKind.DIRECTORY:
                directories.append(found.name)
            elif found.kind is FileKind.IMAGE:
                files[found.name] = found.status
            elif found.kind is FileKind.TEMPORARY:
                self._remove(self._database.path(found.name))
            else:
                self._log.warn(
                    "left out of the images: {name!r}: {reason}",
                    name=found.name,
                    reason=found.reason,
                )
                self.progress.left_out.add(found.name)
        return directories, files

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
            database = self._database
            database.index.remove_image(record.name, {}, database.now_ns())

    def _load_file(self, name: str, load: Callable[[], None]) -> bool:
        """Load an image; whether it is of use."""
        try:
            load()
        except CorruptImage as error:
            if not self._put_aside(self._database.path(name), str(error)):
                self.progress.left_out.add(name)
            return False
        except OSError as error:
            self.progress.left_out.add(name)
            self._log.error(
                "cannot load image {name}: {error}", name=name, error=error.strerror
            )
            return False
        return True

    def _put_aside(self, path: Path, reason: str) -> bool:
        try:
            self._database.quarantine.put(path, reason)
        except OSError as error:
            self._log.error(
                "cannot put aside: {reason}: {error}",
                reason=reason,
                error=error.strerror,
            )
            return False
        return True


def _is_known(record: ImageRecord, status: os.stat_result | None) -> bool:
    """Whether a file (``None``: none) has the references that the index has."""
    if record.is_being_rewritten:
        return status is not None
    return is_file_of(status, record)
