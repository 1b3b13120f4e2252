"""What the stores need of an index.

An installation that outgrows one machine can put another one in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import attrs


@attrs.frozen
class ObjectTotals:
    """How much is stored.

    Attributes:
        objects: number of objects.
        bytes_: their size.
        referenced_objects: those that images use.
        referenced_bytes: their size.
        missing_objects: those that images use but that are not there.
    """

    objects: int = 0
    bytes_: int = 0
    referenced_objects: int = 0
    referenced_bytes: int = 0
    missing_objects: int = 0


@attrs.frozen
class Collectable:
    """An object that no image uses and no lease holds.

    Attributes:
        hash_: the object.
        size: its size in bytes.
        last_used_ns: when it was used last, nanoseconds since 1970.
    """

    hash_: bytes
    size: int
    last_used_ns: int


@attrs.frozen
class ImageRecord:
    """What is known of a stored image without opening its file.

    Attributes:
        name: the name of the image.
        directory: the directory that contains it.
        created_on_ns: nanoseconds since 1970; ``None`` if the image does not say.
        expires_at_ns: the same for the expiration; ``None``: never.
        created_by: who created it.
        created_for: for whom.
        build_branch: branch it was built from.
        build_commit_id: commit it was built from.
        owner_users: who may change it.
        owner_groups: whose members may.
        tags: its tags.
        file_count: regular inodes.
        data_bytes: the sum of their sizes.
        usage_bytes: estimated space when unpacked.
        value_offset: where the value begins in the file.
        value_bytes: its length.
        file_system_offset: where in the value the file system's field begins.
        file_bytes: size of the file.
        file_mtime_ns: its time of modification.
        file_inode: its inode number.
        is_being_rewritten: whether its file may have been replaced by another one with
            the same references.
        computed_count: computed inodes.
        filter_lines: lines of the filter; ``None``: there is no filter.
        trigger_count: triggers; ``None``: none are given.
        package_count: packages.
    """

    name: str
    directory: str
    created_on_ns: int | None
    expires_at_ns: int | None
    created_by: str
    created_for: str
    build_branch: str
    build_commit_id: str
    owner_users: tuple[str, ...]
    owner_groups: tuple[str, ...]
    tags: Mapping[str, str]
    file_count: int
    data_bytes: int
    usage_bytes: int
    value_offset: int
    value_bytes: int
    file_system_offset: int
    file_bytes: int
    file_mtime_ns: int
    file_inode: int
    is_being_rewritten: bool = False
    computed_count: int = 0
    filter_lines: int | None = None
    trigger_count: int | None = None
    package_count: int = 0

    @property
    def expires(self) -> bool:
        """Whether the image expires at some time."""
        return self.expires_at_ns is not None


class ObjectIndex(Protocol):
    """Sizes of objects, and how many references images hold to each.

    All methods may be called from any thread.
    """

    def object_sizes(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """The sizes of those objects that are known."""

    def add_objects(
        self, sizes: Mapping[bytes, int], now_ns: int, leased_until_ns: int = 0
    ) -> None:
        """Record objects, or that they were used again; all or none.

        Args:
            sizes: the objects.
            now_ns: when they were used.
            leased_until_ns: till when they must be kept, whether images use them or
                not; a lease that lasts longer stays.
        """

    def renew_leases(self, prefixes: Iterable[bytes], until_ns: int) -> None:
        """Let objects be kept for longer.

        Args:
            prefixes: beginnings of their hashes; all that begin so are kept.
            until_ns: till when.
        """

    def forget_objects(self, hashes: Iterable[bytes]) -> None:
        """Record that these objects are gone."""

    def objects_between(self, first: bytes, last: bytes) -> dict[bytes, int]:
        """Known objects with hashes from ``first`` to ``last``, and their sizes."""

    def object_totals(self) -> ObjectTotals:
        """How much is stored."""


class UpkeepIndex(ObjectIndex, Protocol):
    """What looking after objects takes: which to collect, to look at, or to miss.

    An object is *collectable* if no image refers to it and no lease holds it. All
    methods may be called from any thread.
    """

    def collectable_totals(self, now_ns: int) -> tuple[int, int]:
        """How many objects are collectable, and how many bytes they have."""

    def collectable_objects(
        self, now_ns: int, limit: int, last: Collectable | None = None
    ) -> list[Collectable]:
        """Collectable objects, those first that are out of use longest.

        Args:
            now_ns: the time.
            limit: the number of objects.
            last: the last one of those that came before.
        """

    def collectable_after(
        self, hash_: bytes, now_ns: int, limit: int
    ) -> dict[bytes, int]:
        """The next collectable objects behind ``hash_``, in the order of hashes."""

    def forget_collectable(self, hashes: Iterable[bytes], now_ns: int) -> list[bytes]:
        """Record that objects are gone, unless they are not collectable any more.

        Returns:
            Those that were forgotten; nobody else can use them from then on.
        """

    def objects_after(self, hash_: bytes, limit: int) -> dict[bytes, int]:
        """The next objects behind ``hash_``, in the order of hashes."""

    def missing_objects(self, limit: int) -> list[bytes]:
        """Objects that images use but that are not there."""

    def reference_counts(self) -> Iterator[tuple[bytes, int]]:
        """All objects that images use, and how many references they have."""

    def note(self, key: str) -> str:
        """Something that was noted; empty: nothing was."""

    def set_note(self, key: str, value: str) -> None:
        """Note something, for the next start."""


class ImageIndex(Protocol):
    """Images and their directories.

    All methods may be called from any thread; each change is made as a whole.
    """

    def image(self, name: str) -> ImageRecord | None:
        """What is known of an image."""

    def images(self) -> Iterator[ImageRecord]:
        """All images, in no particular order."""

    def image_names(self) -> list[str]:
        """Their names."""

    def image_count(self) -> int:
        """Their number."""

    def images_in(self, directory: str) -> Iterator[ImageRecord]:
        """Images directly in a directory, newest first."""

    def expired(self, now_ns: int) -> list[ImageRecord]:
        """Images whose expiration has come."""

    def add_image(
        self,
        record: ImageRecord,
        references: Mapping[bytes, int],
        packages: Iterable[str] = (),
    ) -> None:
        """Record an image.

        Args:
            record: what is known of it.
            references: how often it refers to each object.
            packages: the names of its packages, to find it by them.
        """

    def replace_image(self, record: ImageRecord) -> None:
        """Record an image anew, with the references and packages that it has."""

    def remove_image(
        self, name: str, references: Mapping[bytes, int], now_ns: int
    ) -> None:
        """Forget an image, and its references to objects.

        Args:
            name: the image.
            references: how often it refers to each object.
            now_ns: since when objects without further references are out of use.
        """

    def directories(self) -> dict[str, str]:
        """All directories, and their owner groups (empty: none)."""

    def owner_group(self, directory: str) -> str | None:
        """The owner group of a directory; ``None``: there is no such directory."""

    def add_directory(self, name: str, owner_group: str) -> None:
        """Record a directory, or its new owner group."""

    def remove_directory(self, name: str) -> None:
        """Forget a directory."""

    def set_directories(self, owner_groups: Mapping[str, str]) -> None:
        """Record all directories with their owner groups; forget any others."""

    def forget_images(self) -> None:
        """Forget all images, directories and references, to record them anew."""

    def rebuild_if_damaged(self) -> bool:
        """Forget everything if the index was found damaged; whether it was."""
