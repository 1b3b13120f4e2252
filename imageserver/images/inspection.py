"""Looking into images that are stored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator

import attrs

from imageserver import gob
from imageserver.errors import CorruptImage, GobDecodeError, RequestError
from imageserver.images.admission import dismiss
from imageserver.images.canonical import FILE_LIMITS, read_image_file
from imageserver.images.files import ImageFiles
from imageserver.index.base import ImageIndex
from imageserver.model.file_system import FileSystem
from imageserver.model.image import ComputedFile, Image
from imageserver.model.inode import ComputedRegularInode, DirectoryInode, Inode


def read_file_system(files: ImageFiles, name: str) -> FileSystem | None:
    """The file system of an image, every inode an object: to be given up soon.

    ``None``: there is no such image.

    Raises:
        CorruptImage: the file is damaged.
    """
    stored = files.open_stored(name)
    if stored is None:
        return None
    with open(stored.descriptor, "rb") as file:
        data = file.read()
    try:
        image: Image = gob.decode(data, Image, FILE_LIMITS).value
    except GobDecodeError as error:
        raise CorruptImage(name, str(error)) from error
    if image.file_system is None:
        raise CorruptImage(name, "no file system")
    return image.file_system


def walk(file_system: FileSystem) -> Iterator[tuple[bytes, int, Inode]]:
    """Absolute path, inode number and inode of everything below the root, in order."""
    inodes = file_system.inodes or {}
    unvisited = [(b"", iter(file_system.root.entries))]
    while unvisited:
        path, entries = unvisited[-1]
        entry = next(entries, None)
        if entry is None:
            unvisited.pop()
            continue
        inode = inodes[entry.inode_number]
        entry_path = path + b"/" + entry.name
        yield entry_path, entry.inode_number, inode
        if isinstance(inode, DirectoryInode):
            unvisited.append((entry_path, iter(inode.entries)))


def computed_files(file_system: FileSystem) -> tuple[ComputedFile, ...]:
    """The computed files, in the order of the tree."""
    return tuple(
        ComputedFile(path.decode("utf-8", "surrogateescape"), inode.source)
        for path, _, inode in walk(file_system)
        if isinstance(inode, ComputedRegularInode)
    )


@attrs.frozen
class FoundInodes:
    """Inodes of some files.

    Attributes:
        numbers: inode numbers by path.
        inodes: the inodes by number.
        link_counts: how many names each of them has in the whole tree.
    """

    numbers: dict[bytes, int]
    inodes: dict[int, Inode]
    link_counts: dict[int, int]


def find_inodes(file_system: FileSystem, paths: Iterable[bytes]) -> FoundInodes:
    """The inodes of those of the absolute paths that exist."""
    wanted = set(paths)
    numbers: dict[bytes, int] = {}
    inodes: dict[int, Inode] = {}
    links: Counter[int] = Counter()
    for path, number, inode in walk(file_system):
        links[number] += 1
        if path in wanted:
            numbers[path] = number
            inodes[number] = inode
    return FoundInodes(numbers, inodes, {number: links[number] for number in inodes})


@attrs.frozen
class ObjectStatistics:
    """What images amount to together.

    Attributes:
        images: how many there are.
        file_inodes: regular inodes, those without content included.
        file_inode_bytes: sum of their sizes.
        objects: different contents.
        object_bytes: sum of their sizes.
        computation_ns: processor time that it took to find out.
    """

    images: int
    file_inodes: int
    file_inode_bytes: int
    objects: int
    object_bytes: int
    computation_ns: int


def measure_objects(
    files: ImageFiles, index: ImageIndex, names: Iterable[str], *, ignore_missing: bool
) -> ObjectStatistics:
    """What images amount to together.

    Raises:
        RequestError: there is no such image.
        CorruptImage: a file is damaged.
    """
    began_ns = time.thread_time_ns()
    images = file_inodes = file_inode_bytes = 0
    sizes: dict[bytes, int] = {}
    for name in names:
        record = index.image(name)
        if record is None:
            if ignore_missing:
                continue
            raise RequestError(f"unknown image: {name}")
        images += 1
        file_inodes += record.file_count
        file_inode_bytes += record.data_bytes
        image = read_image_file(name, files.path(name)).image
        if image.file_system is not None and image.file_system.inodes is not None:
            sizes.update(image.file_system.inodes.object_bytes)
        dismiss(image)
    return ObjectStatistics(
        images,
        file_inodes,
        file_inode_bytes,
        len(sizes),
        sum(sizes.values()),
        time.thread_time_ns() - began_ns,
    )
