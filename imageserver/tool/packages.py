"""The packages of an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

from imageserver.errors import ImageServerError
from imageserver.model.image import Package
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.typed_image import TypedImage, load_metadata
from imageserver.tool.units import show_bytes
from imageserver.tool.whole_file import output
from imageserver.trees.local_file import open_below
from imageserver.trees.packages import read_packages
from imageserver.trees.tree import FileAccessError


async def load_packages(session: ImageSession, name: str) -> tuple[Package, ...]:
    """The packages of an image.

    Raises:
        ImageServerError: there is no such image.
    """
    typed = TypedImage.parse(name)
    if typed.letter == "d":
        found: tuple[Package, ...] = await session.blocking(_read_local, typed.rest)
        return found
    return (await load_metadata(session, name)).whole.packages


def _read_local(root: str) -> tuple[Package, ...]:
    def open_file(path: bytes) -> BinaryIO | None:
        try:
            return open_below(root, path)
        except FileAccessError:
            return None

    return read_packages(open_file)


async def get_package_list(session: ImageSession, name: str, target: str = "") -> int:
    """List the packages of an image.

    Raises:
        ImageServerError: it does not say which it has.
    """
    packages = await load_packages(session, name)
    if not packages:
        raise ImageServerError("no package data")
    if session.talk.as_json and not target:
        session.talk.json(
            [
                {"name": item.name, "version": item.version, "size": item.size}
                for item in packages
            ]
        )
        return 0
    with output(target) as file:
        file.write(list_packages(packages, packages))
    return 0


def list_packages(
    packages: Sequence[Package], aligned_with: Sequence[Package]
) -> bytes:
    """Packages as lines of columns, which are as wide as some packages need."""
    name_width = max(len(item.name) for item in aligned_with)
    version_width = max(len(item.version) for item in aligned_with)
    lines = [
        f"{item.name:<{name_width}} {item.version:<{version_width}}"
        f" {show_bytes(item.size)}\n"
        for item in packages
    ]
    return os.fsencode("".join(lines))
