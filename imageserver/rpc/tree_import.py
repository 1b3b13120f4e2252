"""Makes an image of a tree that a web server publishes: ImageServer.ImportTree.

::

    <base>/tree/<hash>     a directory, see model/published_tree.py
    <base>/blob/<hash>     the content of a file, or the target of a symbolic link

All of them become objects here, and each is what its hash says: also the topmost
directory, whose hash is the image's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import attrs
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from imageserver import gob
from imageserver.errors import InvalidImage, RequestError
from imageserver.gob import Time
from imageserver.images.database import ImageDatabase
from imageserver.model.image import Image, ScannedImage
from imageserver.model.image_messages import ImportTreeRequest, ImportTreeResponse
from imageserver.model.published_tree import (
    MAXIMUM_INODES,
    Entries,
    Kind,
    PublishedEntry,
    build_file_system,
    parse_directory,
)
from imageserver.objects.base import ObjectLease, ObjectStorage
from imageserver.rpc.import_sources import Source
from imageserver.rpc.object_import import Fetched, ObjectImports, Wanted
from imageserver.srpc.access import Caller
from imageserver.srpc.methods import Method
from imageserver.worker import Worker

_DIRECTORY_BYTES = 64 << 20
_TARGET_BYTES = 4_095
_DEPTH = 512
_HASH = re.compile(r"[0-9A-Fa-f]{128}")
_NANOSECONDS = 1_000_000_000

CheckLength = Callable[[int], None]


class TreeImports:
    """Serves ImportTree, one call at a time."""

    def __init__(
        self,
        imports: ObjectImports,
        objects: ObjectStorage,
        database: ImageDatabase,
        disk: Worker,
        metadata: Worker,
        clock: IReactorTime,
        check_length: CheckLength,
    ) -> None:
        """Prepare to import.

        Args:
            imports: fetches objects.
            objects: where they go.
            database: where images go.
            disk: does the work of ``objects``.
            metadata: does the work of ``database``.
            clock: tells how long it takes.
            check_length: raises ``RequestError`` for files that cannot be taken.
        """
        self._imports = imports
        self._objects = objects
        self._database = database
        self._disk = disk
        self._metadata = metadata
        self._clock = clock
        self._check_length = check_length
        self._running = DeferredSemaphore(1)

    def methods(self) -> list[Method]:
        """The method."""
        return [
            Method(
                "ImageServer", "ImportTree", request=ImportTreeRequest, reply=self.run
            )
        ]

    async def run(
        self, caller: Caller, request: ImportTreeRequest
    ) -> ImportTreeResponse:
        """Fetch a tree, and make an image of it.

        Args:
            caller: whose image it is; if it goes away, nothing more is fetched.
            request: what it wants.
        """
        response = ImportTreeResponse()
        lease = self._objects.leases.begin()
        tree = _Tree(self._imports, self._objects, self._disk, caller, lease)
        try:
            source, root = self._locate(request.tree_url)
            name = _image_name(request.directory_name, root)
            async with self._running:
                await self._metadata.run(self._check_name, request, name)
                image = Image(
                    created_by=caller.user,
                    created_on=Time.from_nanoseconds(self._database.now_ns()),
                    expires_at=request.expires_at,
                )
                response = await self._fetch(tree, source, root)
                make = self._make_image
                await self._metadata.run(make, name, image, tree, root, caller)
        except RequestError as error:
            return gob.evolve(response, error=str(error))
        finally:
            await self._disk.run(lease.end)
        return gob.evolve(response, image_name=name)

    async def _fetch(
        self, tree: _Tree, source: Source, root: bytes
    ) -> ImportTreeResponse:
        trees, blobs = source.below("tree"), source.below("blob")
        began_s = self._clock.seconds()
        directories = await tree.fetch_directories(trees, root)
        targets = await tree.fetch_targets(blobs)
        middle_s = self._clock.seconds()
        files = await tree.fetch_files(blobs, self._check_length)
        return ImportTreeResponse(
            file_bytes_added=files.bytes_,
            file_objects_added=files.objects,
            files_download_time_ns=_nanoseconds(self._clock.seconds() - middle_s),
            tree_bytes_added=directories.bytes_ + targets.bytes_,
            tree_objects_added=directories.objects + targets.objects,
            trees_download_time_ns=_nanoseconds(middle_s - began_s),
        )

    def _locate(self, url: str) -> tuple[Source, bytes]:
        """What is above all trees there, and the hash of the one that is meant."""
        source = self._imports.source(url)
        *base, kind, hash_ = ("", "", *source.path)
        if kind != "tree" or not _HASH.fullmatch(hash_):
            raise RequestError("not a tree")
        return attrs.evolve(source, path=tuple(base[2:])), bytes.fromhex(hash_)

    def _check_name(self, request: ImportTreeRequest, name: str) -> None:
        index = self._database.index
        if index.owner_group(request.directory_name) is None:
            raise RequestError(f"directory: {request.directory_name} does not exist")
        if index.image(name) is not None:
            raise RequestError(f"image: {name} already exists")

    def _make_image(
        self, name: str, image: Image, tree: _Tree, root: bytes, caller: Caller
    ) -> None:
        made_at = image.created_on
        file_system = build_file_system(root, tree.directories, tree.targets, made_at)
        data = gob.Encoder().encode(gob.evolve(image, file_system=file_system))
        scanned: ScannedImage = gob.decode(data, ScannedImage).value
        self._database.add(name, scanned, caller)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _NANOSECONDS)


def _image_name(directory: str, root: bytes) -> str:
    return root.hex() if directory in ("", ".") else f"{directory}/{root.hex()}"


class _Tree:
    """A tree on its way in.

    Attributes:
        directories: the entries of all directories that are not empty, by hash.
        targets: the targets of all symbolic links, by hash.
    """

    def __init__(
        self,
        imports: ObjectImports,
        objects: ObjectStorage,
        disk: Worker,
        caller: Caller,
        lease: ObjectLease,
    ) -> None:
        self.directories: dict[bytes, Entries] = {}
        self.targets: dict[bytes, bytes] = {}
        self._imports = imports
        self._objects = objects
        self._disk = disk
        self._caller = caller
        self._lease = lease

    async def fetch_directories(self, source: Source, root: bytes) -> Fetched:
        """Fetch a directory and all below it, those of one depth at a time.

        Raises:
            RequestError: one cannot be had, or is none.
        """
        fetched, depth, count = Fetched(), 0, 0
        level = {root}
        while level:
            depth += 1
            if depth > _DEPTH:
                raise InvalidImage("directories nest too deep")
            await self._fetch(
                source, dict.fromkeys(level, 0), _at_most(_DIRECTORY_BYTES), fetched
            )
            new = await self._disk.run(self._read_directories, level)
            count += sum(map(len, new.values()))
            if count > MAXIMUM_INODES:
                raise InvalidImage(f"more than {MAXIMUM_INODES} inodes")
            self.directories.update(new)
            entries = [entry for listed in new.values() for entry in listed]
            level = _objects(entries, Kind.DIRECTORY).keys() - self.directories.keys()
        return fetched

    async def fetch_targets(self, source: Source) -> Fetched:
        """Fetch the targets of all symbolic links.

        Raises:
            RequestError: one cannot be had, or is too long.
        """
        fetched = Fetched()
        wanted = _objects(self._entries(), Kind.SYMLINK)
        await self._fetch(source, wanted, _at_most(_TARGET_BYTES), fetched)
        read = self._read
        self.targets = await self._disk.run(read, wanted, _at_most(_TARGET_BYTES))
        return fetched

    async def fetch_files(self, source: Source, check_length: CheckLength) -> Fetched:
        """Fetch the contents of all files.

        Raises:
            RequestError: one cannot be had, or is of another size.
        """
        fetched = Fetched()
        wanted = _objects(self._entries(), Kind.FILE)
        await self._fetch(source, wanted, check_length, fetched)
        return fetched

    def _entries(self) -> Iterable[PublishedEntry]:
        return (entry for listed in self.directories.values() for entry in listed)

    async def _fetch(
        self,
        source: Source,
        objects: dict[bytes, int],
        check_length: CheckLength,
        fetched: Fetched,
    ) -> None:
        """Fetch those of some objects that are not here; sizes may be 0: unknown."""
        wanted = await self._disk.run(self._missing, objects)
        await self._imports.fetch(
            self._caller, source, wanted, check_length, fetched, self._lease
        )
        if fetched.error:
            raise RequestError(fetched.error)

    def _missing(self, objects: dict[bytes, int]) -> list[Wanted]:
        known = self._objects.sizes(objects)
        for hash_, size in known.items():
            if objects[hash_] not in (0, size):
                text = f"existing size: {size} != {objects[hash_]} for: {hash_.hex()}"
                raise RequestError(text)
        self._lease.keep(known)
        missing = [hash_ for hash_ in objects if hash_ not in known]
        return [
            Wanted(place, hash_, objects[hash_]) for place, hash_ in enumerate(missing)
        ]

    def _read_directories(self, hashes: Iterable[bytes]) -> dict[bytes, Entries]:
        read = self._read(hashes, _at_most(_DIRECTORY_BYTES))
        return {hash_: parse_directory(text) for hash_, text in read.items()}

    def _read(
        self, hashes: Iterable[bytes], check_length: CheckLength
    ) -> dict[bytes, bytes]:
        sizes = self._objects.sizes(hashes)
        if not sizes.keys() >= set(hashes):
            raise RequestError("objects of the tree have vanished")
        contents = {}
        for hash_, size in sizes.items():
            check_length(size)
            [contents[hash_]] = self._objects.read_objects([(hash_, size)])
        return contents


def _objects(entries: Iterable[PublishedEntry], kind: Kind) -> dict[bytes, int]:
    """The objects of all entries of a kind; sizes count for files only."""
    return {
        entry.hash_: entry.size if kind == Kind.FILE else 0
        for entry in entries
        if entry.kind == kind and entry.size
    }


def _at_most(limit: int) -> CheckLength:
    def check(length: int) -> None:
        if length > limit:
            raise RequestError(f"{length} bytes: the limit is {limit}")

    return check
