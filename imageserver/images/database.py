"""The image database: ``docs/formats.md``, "Images"."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.logger import Logger

from imageserver.disk import Disk
from imageserver.errors import (
    AccessDenied,
    ImageExists,
    ImageNotFound,
    InvalidImage,
    RequestError,
    StoreError,
)
from imageserver.images.admission import admit, dismiss
from imageserver.images.canonical import make_image_file
from imageserver.images.directories import place_directory
from imageserver.images.files import ImageFiles
from imageserver.images.permissions import check_image_change, check_new_directory
from imageserver.images.selection import find_latest, select
from imageserver.index.base import ImageIndex, ImageRecord
from imageserver.model.image import ScannedImage
from imageserver.model.image_messages import (
    FindLatestImageRequest,
    ListSelectedImagesRequest,
)
from imageserver.model.names import (
    ROOT,
    check_directory_name,
    check_image_name,
    directory_of,
)
from imageserver.objects.base import ObjectStorage
from imageserver.srpc.access import Caller


class ImageDatabase:
    """The images below one directory. All methods may be called from any thread.

    Attributes:
        directory: where they are.
        index: what is known of them.
        disk: how files are changed.
        now_ns: the time.
        files: the image files.
        quarantined: how many damaged files were put aside.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        index: ImageIndex,
        objects: ObjectStorage,
        disk: Disk,
        now_ns: Callable[[], int],
    ) -> None:
        self.directory = directory
        self.index = index
        self.disk = disk
        self.now_ns = now_ns
        self.quarantined = 0
        self.files = ImageFiles(directory, index, disk)
        self._objects = objects
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """Where the file of an image is, or a directory."""
        return self.directory / name

    def add(self, name: str, image: ScannedImage | None, caller: Caller) -> None:
        """Take an image in, and use it up; it is on disk when this returns.

        An image that has expired already is silently left out.

        Raises:
            RequestError: the image or the caller is refused.
            StoreError: it cannot be stored.
        """
        try:
            self._add(name, image, caller)
        finally:
            dismiss(image)

    def _add(self, name: str, image: ScannedImage | None, caller: Caller) -> None:
        check_image_name(name)
        if self.index.image(name) is not None:
            raise ImageExists("image already exists")
        if image is None:
            raise InvalidImage("nil image")
        admitted = admit(image, self._objects)
        if not image.expires_at.is_zero:
            if image.expires_at.to_nanoseconds() <= self.now_ns():
                self._log.warn("ignoring already expired image: {name}", name=name)
                return
        check_image_change(self.index, caller, name, None)
        if self.index.owner_group(directory_of(name)) is None:
            raise AccessDenied(f'no metadata for: "{directory_of(name)}"')
        image_file = make_image_file(admitted)
        with self._exclusively(name, "already being written"):
            if self.index.image(name) is not None:
                raise ImageExists(f"image: {name} already exists")
            with _told(f"cannot store image: {name}"):
                self.files.add(name, admitted, image_file)

    def delete(self, name: str, caller: Caller) -> None:
        """Delete an image; its name is not to be used again.

        Raises:
            RequestError: there is no such image, or the caller is refused.
            StoreError: it cannot be deleted.
        """
        record = self.index.image(name)
        if record is None:
            raise ImageNotFound("image does not exist")
        check_image_change(self.index, caller, name, record)
        with self._exclusively(name, "being written"):
            if self.index.image(name) != record:
                raise ImageNotFound(f"image: {name} does not exist")
            with _told(f"cannot delete image: {name}"):
                self.files.remove(record, keep_name=True)

    def expire(self) -> list[str]:
        """Remove the images whose time has come; their names can be used again.

        What cannot be removed is logged, and tried again the next time.

        Returns:
            The names.

        Raises:
            StoreError: the index fails.
        """
        records = self.index.expired(self.now_ns())
        return [record.name for record in records if self._expire(record)]

    def _expire(self, record: ImageRecord) -> bool:
        name = record.name
        try:
            with self._exclusively(name, "being written"):
                if self.index.image(name) != record:
                    return False
                self._log.info("auto expiring (deleting) image: {name}", name=name)
                with _told(f"cannot remove expired image: {name}"):
                    self.files.remove(record, keep_name=False)
        except (RequestError, StoreError) as error:
            self._log.error("{error}", error=error)
            return False
        return True

    def open_image(self, record: ImageRecord) -> int:
        """A descriptor to read an image's file; the caller closes it.

        Raises:
            CorruptImage: the file is not the one that was indexed.
        """
        return self.files.open_image(record)

    def find_latest(self, request: FindLatestImageRequest) -> str:
        """The newest image directly in a directory that fits; empty: none.

        Raises:
            RequestError: there is no such directory.
        """
        return find_latest(self.index, request)

    def select(self, request: ListSelectedImagesRequest) -> list[str]:
        """The names of the images that a request selects."""
        return select(self.index, request)

    def make_directory(self, name: str, make_all: bool, caller: Caller) -> list[str]:
        """Make a directory; it gets the owner group of its parent.

        Args:
            name: its name.
            make_all: make missing parents, too, and accept what is there already.
            caller: who wants it.

        Returns:
            The directories that were made.

        Raises:
            RequestError: the name or the caller is refused.
            StoreError: it cannot be made.
        """
        name = posixpath.normpath(name)
        check_directory_name(name)
        if make_all and name == ROOT:
            raise RequestError("cannot create root directory")
        with self._lock:
            return list(self._make_directories(name, make_all, caller))

    def _make_directories(
        self, name: str, make_all: bool, caller: Caller
    ) -> Iterator[str]:
        if self.index.owner_group(name) is not None:
            if make_all:
                return
            raise RequestError(f"directory: {name} already exists")
        parent = directory_of(name)
        if make_all and parent != ROOT:
            yield from self._make_directories(parent, make_all, caller)
        owner_group = self.index.owner_group(parent)
        if owner_group is None:
            raise RequestError(f"no metadata for: {parent}")
        check_new_directory(caller, owner_group)
        with _told(f"cannot make directory: {name}"):
            place_directory(self.disk, self.directory, name, owner_group)
        self.index.add_directory(name, owner_group)
        yield name

    @contextmanager
    def _exclusively(self, name: str, refusal: str) -> Iterator[None]:
        """Let nobody else change an image meanwhile."""
        with self._lock:
            if name in self._busy:
                raise RequestError(f"image: {name} {refusal}")
            self._busy.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(name)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell clients what could not be done, without paths of the server."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror}") from error
