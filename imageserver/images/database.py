"""The image database: ``docs/formats.md``, "Images"."""

from __future__ import annotations

import os
import posixpath
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from twisted.logger import Logger

from imageserver.disk import Disk
from imageserver.errors import (
    AccessDenied,
    CorruptImage,
    ImageExists,
    ImageNotFound,
    InvalidImage,
    RequestError,
)
from imageserver.gob import Time
from imageserver.images.admission import Admitted, admit, measure
from imageserver.images.canonical import ImageFile, make_image_file, read_image_file
from imageserver.images.metadata import write_metadata
from imageserver.images.permissions import check_image_change, check_new_directory
from imageserver.index.base import ImageIndex, ImageRecord
from imageserver.model.image import DirectoryMetadata, Image
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
from imageserver.model.tags import tags_match
from imageserver.objects.store import ObjectStore
from imageserver.srpc.access import Caller

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755


class ImageDatabase:
    """The images below one directory. All methods may be called from any thread.

    Attributes:
        directory: where they are.
        index: what is known of them.
        disk: how files are changed.
        now_ns: the time.
        quarantined: how many damaged files were put aside.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        index: ImageIndex,
        objects: ObjectStore,
        disk: Disk,
        now_ns: Callable[[], int],
    ) -> None:
        self.directory = directory
        self.index = index
        self.disk = disk
        self.now_ns = now_ns
        self.quarantined = 0
        self._objects = objects
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """Where the file of an image is, or a directory."""
        return self.directory / name

    def add(self, name: str, image: Image | None, caller: Caller) -> None:
        """Take an image in; it is on disk when this returns.

        An image that has expired already is silently left out.

        Raises:
            RequestError: the image or the caller is refused.
            OSError: it cannot be stored.
        """
        if self.index.image(name) is not None:
            raise ImageExists("image already exists")
        check_image_name(name)
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
        image_file = make_image_file(admitted.image)
        with self._exclusively(name):
            if self.index.image(name) is not None:
                raise ImageExists(f"image: {name} already exists")
            self._write_new(name, image_file)
            self._record(name, admitted, image_file)

    def delete(self, name: str, caller: Caller) -> None:
        """Delete an image; its name is not to be used again.

        Raises:
            RequestError: there is no such image, or the caller is refused.
            OSError: it cannot be deleted.
        """
        record = self.index.image(name)
        if record is None:
            raise ImageNotFound("image does not exist")
        check_image_change(self.index, caller, name, record)
        with self._exclusively(name):
            if self.index.image(name) is None:
                raise ImageNotFound(f"image: {name} does not exist")
            self._remove(record, self.disk.truncate)

    def expire(self) -> list[str]:
        """Remove the images whose time has come; their names can be used again.

        Returns:
            The names.
        """
        expired = []
        for record in self.index.expired(self.now_ns()):
            with self._exclusively(record.name):
                if self.index.image(record.name) == record:
                    self._remove(record, self._unlink)
                    expired.append(record.name)
            self._log.info("auto expiring (deleting) image: {name}", name=record.name)
        return expired

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
        status = os.fstat(descriptor)
        if (status.st_size, status.st_ino) != (record.file_bytes, record.file_inode):
            os.close(descriptor)
            raise CorruptImage(record.name, "the file was changed by somebody else")
        return descriptor

    def find_latest(self, request: FindLatestImageRequest) -> str:
        """The newest image directly in a directory that fits; empty: none.

        Raises:
            RequestError: there is no such directory.
        """
        if self.index.owner_group(request.directory_name) is None:
            raise RequestError(f"unknown directory: {request.directory_name}")
        commit = request.build_commit_id
        for record in self.index.images_in(request.directory_name):
            if record.created_on_ns is None:
                continue
            if request.ignore_expiring_images and record.expires:
                continue
            if commit and commit not in (record.build_commit_id, record.build_branch):
                continue
            if tags_match(record.tags, request.tags_to_match):
                return record.name
        return ""

    def select(self, request: ListSelectedImagesRequest) -> list[str]:
        """The names of the images that a request selects.

        A directory ``""`` or ``.`` stands for all of them, ``dir/`` for what is
        directly in it, ``dir`` for everything below.
        """
        wanted = request.directory_name
        if wanted.endswith("/"):
            records = self.index.images_in(wanted[:-1])
        else:
            prefix = "" if wanted in ("", ROOT) else f"{wanted}/"
            records = (r for r in self.index.images() if r.name.startswith(prefix))
        return [
            record.name
            for record in records
            if not (request.ignore_expiring_images and record.expires)
            and tags_match(record.tags, request.tags_to_match)
        ]

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
            OSError: it cannot be made.
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
        path = self.path(name)
        if not self.disk.make_directory(path, DIRECTORY_MODE) and not path.is_dir():
            raise RequestError(f"an image has this name: {name}")
        if owner_group:
            write_metadata(self.disk, path, DirectoryMetadata(owner_group))
        self.disk.sync(path.parent)
        self.index.add_directory(name, owner_group)
        yield name

    def take_over(self, name: str) -> None:
        """Index an image file that is there, and make it canonical.

        Raises:
            CorruptImage: it is damaged.
            OSError: it cannot be read or written.
        """
        path = self.path(name)
        stored = read_image_file(name, path)
        if not stored.has_checksum:
            self._log.warn("image without checksum: {name}", name=name)
        try:
            admitted = measure(stored.image)
        except InvalidImage as error:
            raise CorruptImage(name, str(error)) from error
        image_file = make_image_file(admitted.image)
        if not stored.is_canonical or path.stat().st_size != sum(
            map(len, image_file.pieces)
        ):
            self.disk.save(path, image_file.pieces, FILE_MODE)
        self._record(name, admitted, image_file)

    @contextmanager
    def _exclusively(self, name: str) -> Iterator[None]:
        """Let nobody else change an image meanwhile."""
        with self._lock:
            if name in self._busy:
                raise RequestError(f"image: {name} already being written")
            self._busy.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(name)

    def _write_new(self, name: str, image_file: ImageFile) -> None:
        path = self.path(name)
        temporary = path.with_name(f"{path.name}~")
        try:
            self.disk.write_file(temporary, image_file.pieces, FILE_MODE)
            try:
                self.disk.link(temporary, path)
            except FileExistsError:
                raise RequestError(
                    f"cannot add previously deleted image: {name}"
                ) from None
        finally:
            self.disk.remove(temporary)
        self.disk.sync(path.parent)

    def _record(self, name: str, admitted: Admitted, image_file: ImageFile) -> None:
        status = self.path(name).stat()
        record = _make_record(name, admitted, image_file, status)
        self.index.add_image(record, admitted.references)

    def _remove(self, record: ImageRecord, remove_file: Callable[[Path], None]) -> None:
        """Take an image out of the index, then its file away.

        In this order a crash in between leaves the image as it was: the next start
        finds its file.
        """
        path = self.path(record.name)
        references: Mapping[bytes, int] = {}
        try:
            references = measure(read_image_file(record.name, path).image).references
        except (CorruptImage, InvalidImage, OSError) as error:
            # Its references stay until the index is rebuilt: objects are kept too long.
            self._log.error("removing a damaged image: {error}", error=error)
        self.index.remove_image(record.name, references)
        try:
            remove_file(path)
        except OSError:
            self.index.add_image(record, references)
            raise

    def _unlink(self, path: Path) -> None:
        self.disk.remove(path)
        self.disk.sync(path.parent)


def _bounded_ns(time: Time) -> int:
    """Nanoseconds since 1970, or the nearest that a database can hold."""
    return max(-(1 << 63), min((1 << 63) - 1, time.to_nanoseconds()))


def _make_record(
    name: str, admitted: Admitted, image_file: ImageFile, status: os.stat_result
) -> ImageRecord:
    image, summary = admitted.image, admitted.summary
    return ImageRecord(
        name=name,
        directory=directory_of(name),
        created_on_ns=None
        if image.created_on.is_zero
        else _bounded_ns(image.created_on),
        expires_at_ns=None
        if image.expires_at.is_zero
        else _bounded_ns(image.expires_at),
        created_by=image.created_by,
        created_for=image.created_for,
        build_branch=image.build_branch,
        build_commit_id=image.build_commit_id,
        owner_users=image.owner_users,
        owner_groups=image.owner_groups,
        tags=image.tags or {},
        file_count=summary.regular_count,
        data_bytes=summary.data_bytes,
        usage_bytes=summary.usage_bytes,
        value_offset=image_file.value_offset,
        value_bytes=image_file.value_bytes,
        file_system_offset=image_file.file_system_offset,
        file_bytes=status.st_size,
        file_mtime_ns=status.st_mtime_ns,
        file_inode=status.st_ino,
    )
