"""Searching images by what is known of them, and how they are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

ORDERS = (
    "name",
    "created",
    "by",
    "data",
    "usage",
    "files",
    "computed",
    "filter",
    "triggers",
    "packages",
    "expires",
    "branch",
    "commit",
)
"""What images can be sorted by."""


@attrs.frozen
class ImageQuery:
    """Which images are wanted; all conditions have to hold.

    Attributes:
        directory: only what is in this directory; empty: everywhere.
        below: whether images in directories below it are wanted, too.
        words: have to occur in the name, a tag, the branch, the commit, or the name
            of whoever created or owns the image; small and capital letters alike.
        tags: keys and values of tags; a value of ``None``: any.
        created_by: who created the image.
        commit: how the commit, or the whole branch, begins.
        package: the name of a package.
        owner: a user or group that owns the image.
        order: one of :data:`ORDERS`.
        descending: whether the largest comes first.
        offset: how many are left out.
        limit: how many are wanted after that; ``None``: all.
    """

    directory: str = ""
    below: bool = True
    words: Sequence[str] = ()
    tags: Sequence[tuple[str, str | None]] = ()
    created_by: str = ""
    commit: str = ""
    package: str = ""
    owner: str = ""
    order: str = "name"
    descending: bool = False
    offset: int = 0
    limit: int | None = 100


@attrs.frozen
class ImageSummary:
    """An image in a list; see :class:`~imageserver.index.base.ImageRecord`."""

    name: str
    created_on_ns: int | None
    expires_at_ns: int | None
    created_by: str
    build_branch: str
    build_commit_id: str
    tags: Mapping[str, str]
    data_bytes: int
    usage_bytes: int
    file_count: int
    computed_count: int
    filter_lines: int | None
    trigger_count: int | None
    package_count: int


@attrs.frozen
class DirectoryTotals:
    """What is directly in a directory.

    Attributes:
        images: number of images.
        data_bytes: the sum of their sizes, what they share counted each time.
    """

    images: int = 0
    data_bytes: int = 0


class SummaryIndex(Protocol):
    """Looks at all images at once. All methods may be called from any thread."""

    def search_images(self, query: ImageQuery) -> list[ImageSummary]:
        """The images that are wanted."""

    def count_images(self, query: ImageQuery) -> int:
        """How many images fit, whatever limit and offset are."""

    def directory_totals(self) -> dict[str, DirectoryTotals]:
        """What is directly in each directory that holds images."""

    def images_since(self, moments_ns: Sequence[int]) -> list[int]:
        """How many images were created since each of these moments."""

    def reference_counts_of(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """How often images refer to each of these objects."""
