"""Images wherever they are: ``T:rest``, where T is one letter.

::

    i:NAME       an image on the server, also without i:
    I:DIRECTORY  the newest image of a directory on the server
    d:PATH       a directory here, or a tar file
    f:FILE       a file system in a file
    l:FILE       an image in a file, such as those of the server
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import attrs

from imageserver import gob
from imageserver.errors import DecodeError, ImageNotFound, ImageServerError
from imageserver.gob import Limits
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter, Matcher
from imageserver.model.flat_image import FlatImage, FlatTree, GetFlatImageResponse
from imageserver.model.image import Annotation, Image
from imageserver.model.image_messages import (
    FindLatestImageRequest,
    GetImageRequest,
    GetImageResponse,
)
from imageserver.model.triggers import Triggers
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_filter

T = TypeVar("T")

_LETTERS = "dfiIl"
_ELSEWHERE = {"s": "subs", "v": "virtual machines"}
_FILE_LIMITS = Limits(message_bytes=1 << 30)


class NoSuchImage(ImageNotFound):
    """The server has no image of a name.

    Attributes:
        missing_name: the name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"image: {name} not found")
        self.missing_name = name


@attrs.frozen
class TypedImage:
    """A name with its letter."""

    letter: str
    rest: str

    @classmethod
    def parse(cls, text: str) -> TypedImage:
        """Read a name.

        Raises:
            ImageServerError: there is no such letter.
        """
        if len(text) < 3 or text[1] != ":":
            return cls("i", text)
        letter, rest = text[0], text[2:]
        if letter in _ELSEWHERE:
            raise ImageServerError(f"{_ELSEWHERE[letter]} cannot be looked at: {text}")
        if letter not in _LETTERS:
            raise ImageServerError(f"unknown image type: {letter}")
        return cls(letter, rest)

    @property
    def is_on_server(self) -> bool:
        """Whether the server has it."""
        return self.letter in "iI"


@attrs.frozen
class Loaded:
    """What is known of an image.

    Attributes:
        image: all of it; ``None`` if it is only a tree.
        tree: its file system; ``None`` if that was not wanted.
        name: its name on the server; empty if it is not from there.
        information_url: the address of more about it.
    """

    image: Image | None
    tree: FileSystem | None
    name: str = ""
    information_url: str = ""

    @property
    def file_system(self) -> FileSystem:
        """Its file system.

        Raises:
            ImageServerError: it has none.
        """
        return _have(self.tree, "FileSystem data")

    @property
    def whole(self) -> Image:
        """The image itself.

        Raises:
            ImageServerError: it is only a tree.
        """
        return _have(self.image, "Image data")

    @property
    def filter(self) -> Filter | None:
        """Its filter, if it has one."""
        return None if self.image is None else self.image.filter

    @property
    def needed_filter(self) -> Filter:
        """Its filter.

        Raises:
            ImageServerError: it has none.
        """
        return _have(self.filter, "Filter")

    @property
    def triggers(self) -> Triggers:
        """Its triggers.

        Raises:
            ImageServerError: it has none.
        """
        return _have(None if self.image is None else self.image.triggers, "Triggers")

    @property
    def build_log(self) -> Annotation:
        """Where the log of its build is.

        Raises:
            ImageServerError: it has none.
        """
        log = None if self.image is None else self.image.build_log
        return _have(log, "BuildLog data")


async def load_image(session: ImageSession, text: str) -> Loaded:
    """An image with its file system.

    Raises:
        ImageServerError: there is none, or it cannot be read.
    """
    typed = TypedImage.parse(text)
    if typed.is_on_server:
        return await _fetch(session, typed, ignore_file_system=False)
    if typed.letter == "d":
        filter_file = session.settings.filter_file
        scanned: Loaded = await session.blocking(_scan, typed.rest, filter_file)
        return scanned
    if typed.letter == "f":
        tree = await session.blocking(_read, typed.rest, FileSystem)
        return Loaded(None, tree)
    image = await session.blocking(_read, typed.rest, Image)
    return Loaded(image, image.file_system)


@attrs.frozen
class LoadedFlat:
    """An image to be compared.

    Attributes:
        tree: its file system.
        filter: its filter, if it has one.
    """

    tree: FlatTree
    filter: Filter | None


async def load_flat(session: ImageSession, text: str) -> LoadedFlat:
    """An image to be compared; its inodes are not decoded.

    Raises:
        ImageServerError: there is none, or it cannot be read.
    """
    typed = TypedImage.parse(text)
    if typed.letter in "df":
        loaded = await load_image(session, text)
        tree = await session.blocking(FlatTree.of, loaded.file_system)
        return LoadedFlat(tree, None)
    name = typed.rest
    image: FlatImage | None
    if typed.letter == "l":
        image = await session.blocking(_read, name, FlatImage)
    else:
        name = await find_name(session, typed)
        request = GetImageRequest(name, timeout_ns=session.settings.timeout)
        images = await session.images()
        image = (await images.fetch_image(request, GetFlatImageResponse)).image
    if image is None:
        raise NoSuchImage(name)
    if image.file_system is None:
        raise ImageServerError("FileSystem data not available")
    return LoadedFlat(FlatTree(image.file_system), image.filter)


async def load_metadata(session: ImageSession, text: str) -> Loaded:
    """An image without its file system.

    Raises:
        ImageServerError: there is none, or it is only a tree.
    """
    typed = TypedImage.parse(text)
    if typed.is_on_server:
        return await _fetch(session, typed, ignore_file_system=True)
    if typed.letter == "l":
        image = await session.blocking(_read, typed.rest, Image)
        return Loaded(gob.evolve(image, file_system=None), None)
    raise ImageServerError("package data not available")


async def find_name(session: ImageSession, typed: TypedImage) -> str:
    """The name of an image on the server.

    Raises:
        ImageServerError: the directory has no image.
    """
    if typed.letter == "i":
        return typed.rest
    settings = session.settings
    request = FindLatestImageRequest(
        settings.build_commit_id, typed.rest, settings.ignore_expiring
    )
    name = await (await session.images()).find_latest_image(request)
    if not name:
        raise ImageNotFound(f"I:{typed.rest}: not found")
    return name


async def _fetch(
    session: ImageSession, typed: TypedImage, *, ignore_file_system: bool
) -> Loaded:
    name = await find_name(session, typed)
    request = GetImageRequest(
        name,
        ignore_file_system=ignore_file_system,
        timeout_ns=session.settings.timeout,
    )
    response = await (await session.images()).fetch_image(request, GetImageResponse)
    image = response.image
    if image is None:
        raise NoSuchImage(name)
    return Loaded(image, image.file_system, name, response.information_database_url)


def _scan(path: str, filter_file: str) -> Loaded:
    from imageserver.trees.tar import scan_source  # noqa: PLC0415 - brings a lot along

    filter_ = load_filter(filter_file)
    matcher = None if filter_ is None else Matcher(filter_.lines)
    tree = scan_source(path, matcher, lambda files, bytes_: None)
    return Loaded(None, tree.file_system)


def _read(path: str, type_: type[T]) -> T:
    """The first value in a file; what comes behind it does not matter."""
    try:
        data = Path(path).read_bytes()
        value: T = gob.decode(data, type_, _FILE_LIMITS).value
    except OSError as error:
        raise ImageServerError(f"{path}: {error.strerror}") from error
    except DecodeError as error:
        raise ImageServerError(f"{path}: {error}") from error
    return value


def _have(value: T | None, what: str) -> T:
    if value is None:
        raise ImageServerError(f"{what} not available")
    return value
