"""What the rest of the server knows of an object store.

Another kind of storage comes in here, for example one that keeps objects on other
machines; ``test/objects/test_storage.py`` says what it has to do. All methods block.
Those of a store may be called from any thread, those of what it opens from one thread
at a time.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from imageserver.index.base import ObjectTotals


@attrs.frozen
class Outcome:
    """What became of an object.

    Attributes:
        hash_: its hash, as far as it could be computed.
        added: whether it is new.
        error: why it was not taken; empty if it was.
    """

    hash_: bytes = bytes(64)
    added: bool = False
    error: str = ""


def mismatch(computed: bytes, expected: bytes) -> str:
    """What to say of an object that is not the expected one."""
    return f"hash mismatch. Computed={computed.hex()}, expected={expected.hex()}"


class ObjectLease(Protocol):
    """Keeps objects that no image uses yet, for as long as it is renewed."""

    def keep(self, hashes: Iterable[bytes]) -> None:
        """Keep these, too."""

    def end(self) -> None:
        """Renew it no more: the objects are kept for the usual time."""


class ObjectLeases(Protocol):
    """What keeps objects from being collected before an image uses them."""

    def begin(self) -> ObjectLease:
        """A new lease, without any objects."""

    def holding(self, hashes: Container[bytes]) -> AbstractContextManager[None]:
        """Keep objects for the time of a block."""


class ObjectIntake(Protocol):
    """Objects of one stream on their way in.

    What goes wrong with an object is told in its outcome: no method raises an error.
    """

    def expect(self, hashes: Sequence[bytes]) -> None:
        """Objects with these hashes are about to begin.

        To find out at once which of them are there already costs less than one by one.
        """

    def begin(self, length: int, expected_hash: bytes | None) -> None:
        """An object of ``length`` bytes (more than 0) begins.

        Args:
            length: its size in bytes.
            expected_hash: what its hash has to be; ``None``: whatever it is.
        """

    def write(self, data: bytes) -> None:
        """The next bytes of the object; with the last ones, the object ends."""

    def commit(self) -> list[Outcome]:
        """Keep all finished objects, for good.

        Returns:
            What became of each object since the last commit, in order.
        """

    def abandon(self) -> None:
        """Forget what was not committed, and leave no trace of it."""


class ObjectReader(Protocol):
    """An object that is open."""

    @property
    def size(self) -> int:
        """Its size in bytes."""

    @property
    def descriptor(self) -> int | None:
        """The open file whose content it is; ``None``: it has to be :meth:`read`."""

    def read(self, offset: int, size: int) -> bytes:
        """Some of its bytes: as many as asked for, or as there are.

        Raises:
            OSError: they cannot be read.
            StoreError: the object is damaged.
        """

    def put_aside(self, reason: str) -> None:
        """It does not hold what its name says: nobody must get it any more.

        Raises:
            OSError: that cannot be done.
            StoreError: the same.
        """

    def close(self) -> None:
        """It is of no more use; to be called once."""


class ObjectStorage(Protocol):
    """Immutable objects, by their hashes."""

    @property
    def quarantined(self) -> int:
        """How many damaged objects were put aside."""

    @property
    def leases(self) -> ObjectLeases:
        """What keeps objects that no image uses yet."""

    def intake(self, lease: ObjectLease | None = None) -> ObjectIntake:
        """Where objects of a new stream go; ``lease`` keeps them."""

    def sizes(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """The sizes of those objects that are there.

        Raises:
            StoreError: nobody can tell.
        """

    def reader(self, hash_: bytes, size: int) -> ObjectReader:
        """Open an object of known size.

        Raises:
            ObjectNotFound: it is gone.
            CorruptObject: it is not what it should be.
        """

    def read_objects(self, objects: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """The contents of objects of known sizes, which fit into memory together.

        Raises:
            OSError: they cannot be read.
            ObjectNotFound: one is gone.
            CorruptObject: one is not what it should be.
        """

    def missing(self, sizes: Mapping[bytes, int]) -> list[bytes]:
        """Those objects that :meth:`sizes` told of and that cannot be read."""

    def delete(self, hashes: Sequence[bytes]) -> None:
        """Remove objects; they need not be there.

        Raises:
            OSError: that cannot be done. Some are gone then, others are as they were.
            StoreError: the same.
        """

    def walk(self, first: int) -> Iterator[tuple[bytes, int]]:
        """All objects whose hashes begin with the byte ``first``, and their sizes.

        What comes or goes meanwhile may be among them or not.

        Raises:
            OSError: they cannot be listed.
        """

    def totals(self) -> ObjectTotals:
        """How much is stored."""

    def room_bytes(self) -> int:
        """How much may still be put in."""

    def free_bytes(self) -> int:
        """How much space there is."""

    def capacity_bytes(self) -> int:
        """How much there was when nothing was stored."""
