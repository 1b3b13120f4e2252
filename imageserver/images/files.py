"""Image files, and the index in step with them.

A file is complete and on disk before the index knows of it, and the index has
forgotten it before it goes away. So a crash leaves files that the index does not
know, at worst, and the next start takes these over.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import attrs
from twisted.logger import Logger

from imageserver.disk import Disk
from imageserver.errors import (
    CorruptImage,
    GobDecodeError,
    InvalidImage,
    RequestError,
    StoreError,
)
from imageserver.gob import Time
from imageserver.images.admission import Admitted, dismiss, measure
from imageserver.images.canonical import (
    ImageFile,
    make_image_file,
    read_image_file,
    with_expiration,
)
from imageserver.images.changes import Change, Changes, Operation
from imageserver.images.records import (
    is_file_of,
    make_changed_record,
    make_record,
)
from imageserver.index.base import ImageIndex, ImageRecord

_MODE = 0o644


@attrs.frozen
class OpenImage:
    """An image that can be read.

    Attributes:
        record: what is known of it.
        descriptor: its file, to be closed.
    """

    record: ImageRecord
    descriptor: int


class ImageFiles:
    """The image files below one directory.

    The caller sees to it that an image is changed by one thread at a time.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        index: ImageIndex,
        disk: Disk,
        now_ns: Callable[[], int],
        changes: Changes,
    ) -> None:
        self._directory = directory
        self._index = index
        self._disk = disk
        self._changes = changes
        self._rewriting = threading.Lock()
        self._now_ns = now_ns

    def path(self, name: str) -> Path:
        """Where the file of an image is."""
        return self._directory / name

    def current(self, name: str) -> ImageRecord | None:
        """What is known of an image; waits until its file is not being rewritten.

        Raises:
            StoreError: the file was left in the midst of that, and cannot be used.
        """
        record = self._index.image(name)
        if record is None or not record.is_being_rewritten:
            return record
        with self._rewriting:
            record = self._index.image(name)
            if record is not None and record.is_being_rewritten:
                try:
                    self.look_again(record)
                except OSError as error:
                    raise CorruptImage(name, error.strerror or "unreadable") from error
        return self.current(name)

    def open_stored(self, name: str) -> OpenImage | None:
        """An image and its file, opened for reading; ``None``: there is no such image.

        Raises:
            StoreError: the file is damaged, or not the one that was indexed.
        """
        while (record := self.current(name)) is not None:
            try:
                return OpenImage(record, self.open_image(record))
            except CorruptImage:
                if record == self._index.image(name):
                    raise  # nobody has changed the image meanwhile
        return None

    def open_image(self, record: ImageRecord) -> int:
        """A descriptor to read an image's file; the caller closes it.

        Raises:
            CorruptImage: the file is not the one that was indexed.
        """
        try:
            descriptor = os.open(
                self.path(record.name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            )
        except OSError as error:
            raise CorruptImage(record.name, error.strerror or "unreadable") from error
        if not is_file_of(os.fstat(descriptor), record):
            os.close(descriptor)
            raise CorruptImage(record.name, "the file was changed by somebody else")
        return descriptor

    def add(
        self,
        name: str,
        admitted: Admitted,
        image_file: ImageFile,
        *,
        revive: bool = False,
    ) -> None:
        """Write the file of a new image, and index it.

        Args:
            name: its name.
            admitted: the image.
            image_file: its file.
            revive: whether it may have the name of a deleted one.

        Raises:
            RequestError: the name was used before.
            OSError: the file cannot be written.
            StoreError: the index fails.
        """
        path = self.path(name)
        temporary = path.with_name(f"{path.name}~")
        undo = self._unlink
        try:
            self._disk.write_file(temporary, image_file.pieces, _MODE)
            try:
                self._disk.link(temporary, path)
            except FileExistsError:
                if not (revive and _is_tombstone(path)):
                    raise RequestError(
                        f"cannot add previously deleted image: {name}"
                    ) from None
                undo = self._empty
                self._disk.rename(temporary, path)
        finally:
            self._disk.discard(temporary)
        try:
            self._disk.sync(path.parent)
            self._record(name, admitted, image_file)
        except (OSError, StoreError):
            # Nobody was told of the image: its name is what it was before.
            with suppress(OSError):
                undo(path)
            raise

    def _record(self, name: str, admitted: Admitted, image_file: ImageFile) -> None:
        status = self.path(name).stat()
        record = make_record(name, admitted, image_file, status)
        packages = [package.name for package in admitted.image.packages]
        self._add(record, admitted.references, packages)

    def _add(
        self,
        record: ImageRecord,
        references: Mapping[bytes, int],
        packages: Iterable[str],
    ) -> None:
        with self._announced(record):
            self._index.add_image(record, references, packages)

    def _announced(self, record: ImageRecord) -> AbstractContextManager[None]:
        """Let others know of a new image, or of its expiration."""
        added = Change(Operation.ADD_IMAGE, record.name, record.expires)
        return self._changes.announced(added)

    def change_expiration(self, record: ImageRecord, expires_at: Time) -> None:
        """Let an image expire at another time; a zero time: never.

        The index knows before that the file may be another one, should something go
        wrong.

        Raises:
            CorruptImage: the file is damaged.
            OSError: the file cannot be written.
            StoreError: the index fails.
        """
        with open(self.open_image(record), "rb") as file:
            stored = file.read()
        try:
            image_file = with_expiration(
                stored, record.value_offset, record.file_system_offset, expires_at
            )
        except GobDecodeError as error:
            raise CorruptImage(record.name, str(error)) from error
        path = self.path(record.name)
        with self._rewriting:
            self._index.replace_image(attrs.evolve(record, is_being_rewritten=True))
            self._disk.save(path, image_file.pieces, _MODE)
            changed = make_changed_record(record, expires_at, image_file, path.stat())
            with self._announced(changed):
                self._index.replace_image(changed)

    def look_again(self, record: ImageRecord) -> None:
        """Record an image anew whose file may have been rewritten.

        Raises:
            CorruptImage: it is damaged.
            OSError: it cannot be read.
            StoreError: the index fails.
        """
        path = self.path(record.name)
        image = read_image_file(record.name, path).image
        try:
            image_file = make_image_file(measure(image))
        except InvalidImage as error:
            raise CorruptImage(record.name, str(error)) from error
        changed = make_changed_record(record, image.expires_at, image_file, path.stat())
        self._index.replace_image(changed)
        dismiss(image)

    def remove(self, record: ImageRecord, *, keep_name: bool) -> None:
        """Take an image out of the index, then its file away.

        In this order a crash in between leaves the image as it was: the next start
        finds its file.

        Args:
            record: the image.
            keep_name: leave an empty file, so that the name is not used again. If not,
                nobody is told: who follows us has clocks, too.

        Raises:
            OSError: the file cannot be removed.
            StoreError: the index fails.
        """
        path = self.path(record.name)
        references, packages = self._references(record)
        deleted = Change(Operation.DELETE_IMAGE, record.name)
        with self._changes.announced(deleted) if keep_name else nullcontext():
            self._index.remove_image(record.name, references, self._now_ns())
        try:
            if keep_name:
                self._empty(path)
            else:
                self._unlink(path)
        except OSError:
            if self._is_intact(record):
                self._add(record, references, packages)
            raise

    def _references(self, record: ImageRecord) -> tuple[Mapping[bytes, int], list[str]]:
        """The references of an image, and its packages.

        Nobody can tell those of a damaged image. They stay until the index is
        rebuilt: objects are kept too long.
        """
        name, path = record.name, self.path(record.name)
        try:
            if self._is_intact(record):
                image = read_image_file(name, path).image
                references = measure(image).references
                dismiss(image)
                return references, [package.name for package in image.packages]
            reason = "its file was changed by somebody else"
        except (CorruptImage, InvalidImage, OSError) as error:
            reason = str(error)
        self._log.error(
            "removing damaged image {name}: {reason}", name=name, reason=reason
        )
        return {}, []

    def _is_intact(self, record: ImageRecord) -> bool:
        try:
            status = os.stat(self.path(record.name), follow_symlinks=False)
        except OSError:
            return False
        return is_file_of(status, record)

    def _empty(self, path: Path) -> None:
        """Put an empty file in place of one, whose readers can read on."""
        try:
            self._disk.save(path, (), _MODE)
        except OSError:  # the disk may be full
            self._disk.truncate(path)
            self._disk.sync(path.parent)

    def _unlink(self, path: Path) -> None:
        self._disk.remove(path)
        self._disk.sync(path.parent)

    def remove_tombstone(self, name: str) -> None:
        """Forget that there was an image of that name, if there was one.

        Raises:
            OSError: that cannot be done.
        """
        path = self.path(name)
        with suppress(FileNotFoundError):
            if _is_tombstone(path):
                self._unlink(path)

    def take_over(self, name: str) -> None:
        """Index an image file that is there, and make it canonical.

        Raises:
            CorruptImage: it is damaged.
            OSError: it cannot be read or written.
            StoreError: the index fails.
        """
        path = self.path(name)
        stored = read_image_file(name, path)
        if not stored.checksum:
            self._log.warn("image without checksum: {name}", name=name)
        try:
            admitted = measure(stored.image)
            image_file = make_image_file(admitted)
        except InvalidImage as error:
            raise CorruptImage(name, str(error)) from error
        if not stored.is_canonical(image_file):
            self._disk.save(path, image_file.pieces, _MODE)
        self._record(name, admitted, image_file)
        dismiss(stored.image)


def _is_tombstone(path: Path) -> bool:
    """Whether a file only keeps the name of a deleted image."""
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and status.st_size == 0
