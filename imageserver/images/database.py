"""The image database: ``docs/formats.md``, "Images"."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
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
from imageserver.gob import Time
from imageserver.images.admission import Admitted, admit, dismiss, measure
from imageserver.images.canonical import make_image_file
from imageserver.images.changes import Change, Changes, Operation
from imageserver.images.directories import place_directory, remove_directory
from imageserver.images.expiration import ExpirationLimits
from imageserver.images.files import ImageFiles, OpenImage
from imageserver.images.metadata import write_metadata
from imageserver.images.permissions import (
    check_image_change,
    check_new_directory,
    check_owner_change,
    is_group,
)
from imageserver.images.records import to_nanoseconds
from imageserver.images.selection import find_latest, select
from imageserver.images.telling import told
from imageserver.index.base import ImageIndex, ImageRecord
from imageserver.model.image import DirectoryMetadata, ScannedImage
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
from imageserver.quarantine import Quarantine
from imageserver.srpc.access import Caller


class ImageDatabase:
    """The images below one directory. All methods may be called from any thread.

    Attributes:
        directory: where they are.
        index: what is known of them.
        disk: how files are changed.
        now_ns: the time.
        changes: tells who wants to know of changes.
        files: the image files.
        quarantine: where damaged files are put.
        objects: the objects that images need.
        expiration_limits: how far off expirations may be put.
        keeps_expired: whether images stay when their time has come.
        incomplete: images of which objects are missing, and how many.
        left_out: images that could not be read, and directories likewise.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        index: ImageIndex,
        objects: ObjectStorage,
        disk: Disk,
        now_ns: Callable[[], int],
        changes: Changes | None = None,
        *,
        expiration_limits: ExpirationLimits | None = None,
        is_group: Callable[[str], bool] = is_group,
        keeps_expired: bool = False,
    ) -> None:
        self.directory = directory
        self.index = index
        self.disk = disk
        self.now_ns = now_ns
        self.quarantine = Quarantine(directory, disk)
        self.changes = changes or Changes()
        self.files = ImageFiles(directory, index, disk, now_ns, self.changes)
        self.objects = objects
        self.expiration_limits = expiration_limits or ExpirationLimits()
        self.keeps_expired = keeps_expired
        self.incomplete: Mapping[str, int] = {}
        self.left_out: AbstractSet[str] = frozenset()
        self._is_group = is_group
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
        with self.admitted(name, image, caller) as admitted:
            if admitted is not None:
                self.store(name, admitted)

    @contextmanager
    def admitted(
        self, name: str, image: ScannedImage | None, caller: Caller
    ) -> Iterator[Admitted | None]:
        """Check a new image, and have its objects in hand for the time of a block.

        ``None`` comes in place of an image that has expired already.

        Raises:
            RequestError: the image or the caller is refused.
        """
        check_image_name(name)
        if self.index.image(name) is not None:
            raise ImageExists("image already exists")
        if image is None:
            raise InvalidImage("nil image")
        admitted = measure(image)
        with self.objects.leases.holding(admitted.references):
            admit(admitted, self.objects)
            if self.has_expired(image):
                self._log.warn("ignoring already expired image: {name}", name=name)
                yield None
            else:
                check_image_change(self.index, caller, name, None)
                yield admitted

    def has_expired(self, image: ScannedImage) -> bool:
        """Whether the time of an image has come."""
        expires_at = image.expires_at
        return not expires_at.is_zero and expires_at.to_nanoseconds() <= self.now_ns()

    def store(self, name: str, admitted: Admitted, *, revive: bool = False) -> None:
        """Store an image that was admitted, and whose objects are in hand.

        Args:
            name: its name.
            admitted: the image.
            revive: whether it may have the name of a deleted one.

        Raises:
            RequestError: there is such an image, or no such directory.
            StoreError: it cannot be stored.
        """
        image_file = make_image_file(admitted)
        with self.exclusively(name, f"image: {name} already being written"):
            if self.index.image(name) is not None:
                raise ImageExists(f"image: {name} already exists")
            if self.index.owner_group(directory_of(name)) is None:
                raise AccessDenied(f'no metadata for: "{directory_of(name)}"')
            with told(f"cannot store image: {name}"):
                self.files.add(name, admitted, image_file, revive=revive)
        self.incomplete = {n: c for n, c in self.incomplete.items() if n != name}

    def delete(self, name: str, caller: Caller) -> None:
        """Delete an image; its name is not to be used again.

        Raises:
            RequestError: there is no such image, or the caller is refused.
            StoreError: it cannot be deleted.
        """
        record = self.files.current(name)
        if record is None:
            raise ImageNotFound("image does not exist")
        check_image_change(self.index, caller, name, record)
        with self.exclusively(name, f"image: {name} is being written"):
            if self.index.image(name) != record:
                raise ImageNotFound(f"image: {name} does not exist")
            with told(f"cannot delete image: {name}"):
                self.files.remove(record, keep_name=True)

    def change_expiration(self, name: str, expires_at: Time, caller: Caller) -> None:
        """Let an image expire later; a zero time: never.

        Raises:
            RequestError: there is no such image, or the caller or the time is refused.
            StoreError: it cannot be stored.
        """
        self.expiration_limits.check(caller, expires_at, self.now_ns())
        record = self.files.current(name)
        if record is None:
            raise ImageNotFound("image not found")
        check_image_change(self.index, caller, name, record)
        if record.expires_at_ns is None:
            raise RequestError("image does not expire")
        new_ns = to_nanoseconds(expires_at)
        if new_ns == record.expires_at_ns:
            return
        if new_ns is not None and new_ns < record.expires_at_ns:
            raise RequestError("cannot shorten expiration time")
        with self.exclusively(name, "image being modified"):
            if self.index.image(name) != record:
                raise RequestError("image being modified")
            with told(f"cannot store image: {name}"):
                self.files.change_expiration(record, expires_at)

    def expire(self) -> list[str]:
        """Remove the images whose time has come; their names can be used again.

        What cannot be removed is logged, and tried again the next time.

        Returns:
            The names.

        Raises:
            StoreError: the index fails.
        """
        if self.keeps_expired:
            return []
        records = self.index.expired(self.now_ns())
        return [record.name for record in records if self._expire(record)]

    def _expire(self, record: ImageRecord) -> bool:
        name = record.name
        try:
            with self.exclusively(name, f"image: {name} is being written"):
                if self.files.current(name) != record:
                    return False
                self._log.info("auto expiring (deleting) image: {name}", name=name)
                with told(f"cannot remove expired image: {name}"):
                    self.files.remove(record, keep_name=False)
        except (RequestError, StoreError) as error:
            self._log.error("{error}", error=error)
            return False
        return True

    def open_stored(self, name: str) -> OpenImage | None:
        """An image and its file, opened for reading; ``None``: there is no such image.

        Raises:
            StoreError: the file is damaged, or not the one that was indexed.
        """
        return self.files.open_stored(name)

    def find_latest(self, request: FindLatestImageRequest) -> str:
        """The newest complete image directly in a directory that fits; empty: none.

        Raises:
            RequestError: there is no such directory.
        """
        return find_latest(self.index, request, self.incomplete)

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
        with told(f"cannot make directory: {name}"):
            place_directory(self.disk, self.directory, name, owner_group)
        self._record_directory(name, owner_group)
        yield name

    def put_directory(self, name: str, owner_group: str) -> None:
        """Have a directory that belongs to a group, which may be unknown here.

        Raises:
            RequestError: an image has that name, or it cannot be one.
            StoreError: it cannot be made.
        """
        check_directory_name(name)
        with self._lock:
            if self.index.owner_group(name) == owner_group:
                return
            if self.index.owner_group(directory_of(name)) is None:
                raise RequestError(f"no metadata for: {directory_of(name)}")
            with told(f"cannot make directory: {name}"):
                self.files.remove_tombstone(name)
                place_directory(self.disk, self.directory, name, owner_group)
            self._record_directory(name, owner_group)

    def _record_directory(self, name: str, owner_group: str) -> None:
        made = Change(Operation.MAKE_DIRECTORY, name, owner_group=owner_group)
        with self.changes.announced(made):
            self.index.add_directory(name, owner_group)

    def change_owner(self, name: str, owner_group: str, caller: Caller) -> None:
        """Give a directory to a group; an empty one: to nobody.

        Raises:
            RequestError: the directory, the group or the caller is refused.
            StoreError: it cannot be stored.
        """
        if not caller.user:
            raise AccessDenied("no username: unauthenticated connection")
        if owner_group and not self._is_group(owner_group):
            raise RequestError(f"group: unknown group {owner_group}")
        name = posixpath.normpath(name)
        with self._lock:
            present_group = self.index.owner_group(name)
            if present_group is None:
                raise RequestError(f'no metadata for: "{name}"')
            parent_group = self.index.owner_group(directory_of(name)) or ""
            check_owner_change(caller, present_group, parent_group, owner_group)
            if owner_group == present_group:
                return
            with told(f"cannot change directory: {name}"):
                metadata = DirectoryMetadata(owner_group)
                write_metadata(self.disk, self.path(name), metadata)
            self._record_directory(name, owner_group)

    def remove_directory(self, name: str) -> None:
        """Remove a directory in which there are no images, only names of deleted ones.

        Raises:
            RequestError: there is no such directory, or something is in it.
            StoreError: it cannot be removed.
        """
        with self._lock:
            if self.index.owner_group(name) is None:
                raise RequestError(f"directory: {name} does not exist")
            if name == ROOT:
                raise RequestError("cannot remove root directory")
            if any(directory_of(image) == name for image in self._busy):
                raise RequestError(f"directory: {name} not empty")
            with told(f"cannot remove directory: {name}"):
                remove_directory(self.disk, self.directory, name)
            with self.changes.announced(Change(Operation.DELETE_DIRECTORY, name)):
                self.index.remove_directory(name)

    @contextmanager
    def exclusively(self, name: str, refusal: str) -> Iterator[None]:
        """Let nobody else change an image meanwhile."""
        with self._lock:
            if name in self._busy:
                raise RequestError(refusal)
            self._busy.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(name)
