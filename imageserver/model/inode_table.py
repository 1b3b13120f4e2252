"""The inode table of an image, scanned.

A server needs to know what an image amounts to and how its tree hangs together, and
then stores and sends it as bytes. Made into objects, the inodes of a large image would
take seconds and hundreds of megabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from imageserver.gob import uint_bytes
from imageserver.gob.patterns import read_number
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryInode,
    Inode,
    RegularInode,
    SymlinkInode,
)

_BLOCK_BYTES = 4_096
_SYMLINK_BYTES = 64


@attrs.frozen
class Entries:
    """A directory; numbers are those bytes that encode them.

    Attributes:
        names: the names in it.
        numbers: the inode numbers of these.
        attributes: its mode, user and group.
    """

    names: tuple[bytes, ...] = ()
    numbers: tuple[bytes, ...] = ()
    attributes: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, directory: DirectoryInode) -> Entries:
        """A directory that was decoded."""
        attributes = directory.mode, directory.uid, directory.gid
        return cls(
            tuple([entry.name for entry in directory.entries]),
            tuple([uint_bytes(entry.inode_number) for entry in directory.entries]),
            tuple([uint_bytes(value) for value in attributes]),
        )

    def without_entries(self) -> DirectoryInode:
        """The inode, as if nothing was in the directory."""
        return DirectoryInode((), *map(read_number, self.attributes))


@attrs.define(eq=False)
class InodeTable:
    """What an inode table amounts to. Inode numbers are those bytes that encode them.

    Attributes:
        encoded: the table in the encoding of canonical image files, in pieces: one
            that grew to the size of the table would be moved again and again, and other
            threads wait meanwhile.
        numbers: of all inodes.
        directories: what is in each directory but the root.
        computed: the numbers of computed inodes.
        regular_count: regular inodes.
        symlink_count: symbolic links.
        data_bytes: sum of the sizes of regular inodes.
        block_bytes: the same in whole blocks.
        objects: how often each object is used, by hash.
        object_bytes: the size that the inodes give for each object.
        contradictions: why it cannot be the table of an image; not all of it, since
            there may be millions.
    """

    encoded: list[bytearray] = attrs.Factory(list)
    numbers: set[bytes] = attrs.Factory(set)
    directories: dict[bytes, Entries] = attrs.Factory(dict)
    computed: set[bytes] = attrs.Factory(set)
    regular_count: int = 0
    symlink_count: int = 0
    data_bytes: int = 0
    block_bytes: int = 0
    objects: Counter[bytes] = attrs.Factory(Counter)
    object_bytes: dict[bytes, int] = attrs.Factory(dict)
    contradictions: list[str] = attrs.Factory(list)

    @property
    def usage_bytes(self) -> int:
        """Estimated space when unpacked, without the root."""
        directories = len(self.directories) * _BLOCK_BYTES
        return self.block_bytes + directories + self.symlink_count * _SYMLINK_BYTES

    @classmethod
    def of(cls, inodes: Mapping[int, Inode] | None) -> InodeTable:
        """What inodes amount to that were decoded."""
        table = cls()
        for number, inode in (inodes or {}).items():
            table.add(uint_bytes(number), inode)
        return table

    def add(self, number: bytes, inode: Inode | None) -> None:
        """Account for an inode."""
        self.numbers.add(number)
        match inode:
            case RegularInode():
                self.add_regular([inode.hash_], [inode.size])
            case DirectoryInode():
                self.directories[number] = Entries.of(inode)
            case SymlinkInode():
                self.symlink_count += 1
            case ComputedRegularInode():
                self.computed.add(number)
            case None:
                self._contradict(f"inode {read_number(number)} is nil")

    def add_regular(self, hashes: Sequence[bytes], sizes: Sequence[int]) -> None:
        """Account for regular inodes, but for their numbers."""
        self.regular_count += len(sizes)
        self.data_bytes += sum(sizes)
        blocks = sum([-(-size // _BLOCK_BYTES) for size in sizes])
        self.block_bytes += blocks * _BLOCK_BYTES
        if 0 in sizes:  # these have no object
            hashes = [hash_ for hash_, size in zip(hashes, sizes, strict=True) if size]
            sizes = [size for size in sizes if size]
        self.objects.update(hashes)
        first_sizes = list(map(self.object_bytes.setdefault, hashes, sizes))
        if first_sizes != sizes:
            for hash_, first, size in zip(hashes, first_sizes, sizes, strict=True):
                if first != size:
                    self._contradict(f"two sizes for object: {hash_.hex()}")

    def _contradict(self, text: str) -> None:
        if not self.contradictions:
            self.contradictions.append(text)

    def clear(self) -> None:
        """Give up everything but the sums, step by step.

        Freed at once, the hundreds of thousands of small objects would keep other
        threads waiting.
        """
        for collection in (self.directories, self.objects, self.object_bytes):
            while collection:
                collection.popitem()
        while self.numbers:
            self.numbers.pop()
