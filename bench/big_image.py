"""An image shaped like a real one, the same each time.

137,000 inodes: 115,000 regular with 105,000 different contents, 12,000 directories,
10,000 symbolic links; encoded about 21 MB.
"""

from __future__ import annotations

import random

from imageserver.gob import Time
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter
from imageserver.model.image import Image
from imageserver.model.image_messages import AddImageRequest
from imageserver.model.inode import (
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
    SymlinkInode,
)

SEED = 7
REGULAR, OBJECTS, DIRECTORIES, SYMLINKS = 115_000, 105_000, 12_000, 10_000
_LETTERS = "abcdefghijklmnopqrstuvwxyz_-.0123456789"
_MODES = (0o100644, 0o100644, 0o100644, 0o100755, 0o100755, 0o100600)


def make_hashes(count: int = OBJECTS) -> tuple[bytes, ...]:
    """Hashes of nothing in particular."""
    chance = random.Random(SEED)
    return tuple(chance.randbytes(64) for _ in range(count))


def make_request() -> AddImageRequest:
    """The request that adds the image."""
    image = Image(
        created_by="builder",
        created_on=Time.from_nanoseconds(1_700_000_000_000_000_000),
        filter=Filter(("/var/log/.*", "/var/cache/.*")),
        file_system=_make_file_system(random.Random(SEED)),
    )
    return AddImageRequest("base/2026-01-01:00:00:00", image)


def _make_file_system(chance: random.Random) -> FileSystem:
    count = REGULAR + DIRECTORIES + SYMLINKS
    numbers = chance.sample(range(100_000, 8_000_000), count)
    directories = numbers[:DIRECTORIES]
    links = numbers[DIRECTORIES : DIRECTORIES + SYMLINKS]
    files = numbers[DIRECTORIES + SYMLINKS :]
    inodes: dict[int, Inode] = {}
    for number, inode in zip(files, _make_files(chance), strict=True):
        inodes[number] = inode
    for number in links:
        inodes[number] = SymlinkInode(0, 0, b"../lib/" + _make_name(chance))
    children: list[list[int]] = [[] for _ in range(DIRECTORIES + 1)]
    for index, number in enumerate(directories):
        children[chance.randrange(index // 2 + 1)].append(number)
    for number in files + links:
        chance.choice(children).append(number)
    root, *others = [_make_directory(chance, numbers) for numbers in children]
    inodes |= zip(directories, others, strict=True)
    items = list(inodes.items())
    chance.shuffle(items)  # as maps of Go are sent
    data_bytes = sum(i.size for i in inodes.values() if isinstance(i, RegularInode))
    return FileSystem(dict(items), REGULAR, data_bytes, DIRECTORIES + 1, root)


def _make_files(chance: random.Random) -> list[RegularInode]:
    contents = [
        (hash_, int(chance.lognormvariate(8, 2)) + 1) for hash_ in make_hashes()
    ]
    contents += chance.choices(contents, k=REGULAR - OBJECTS)
    files = []
    for hash_, size in contents:
        owner = chance.choice((0, 0, 0, 0, 0, 0, 0, 0, 0, 1000))
        mtime = chance.randrange(10**9), 1_600_000_000 + chance.randrange(10**8)
        mode = chance.choice(_MODES)
        files.append(RegularInode(mode, owner, owner, *mtime, size, hash_))
    return files


def _make_directory(chance: random.Random, numbers: list[int]) -> DirectoryInode:
    names: set[bytes] = set()
    while len(names) < len(numbers):
        names.add(_make_name(chance))
    entries = zip(sorted(names), numbers, strict=True)
    return DirectoryInode(tuple(DirectoryEntry(*e) for e in entries), 0o40755)


def _make_name(chance: random.Random) -> bytes:
    length = chance.randint(4, 28)
    return "".join(chance.choices(_LETTERS, k=length)).encode()
