"""Commands that compare one part of two images."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import BinaryIO, TypeAlias

from imageserver.errors import ImageServerError
from imageserver.tool.comparing import compare_files, two_files
from imageserver.tool.content import write_build_log, write_content
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.packages import list_packages, load_packages
from imageserver.tool.triggers_text import triggers_text
from imageserver.tool.typed_image import load_metadata

Write: TypeAlias = Callable[[ImageSession, str, BinaryIO], Awaitable[None]]


async def _compare(
    session: ImageSession, tool: str, left: str, right: str, write: Write
) -> int:
    with two_files() as files:
        for name, file in zip((left, right), files, strict=True):
            await write(session, name, file)
        return await compare_files(session, tool, *files)


async def diff_files(
    session: ImageSession, tool: str, left: str, right: str, path: str
) -> int:
    """Compare one file of two images."""

    async def write(session: ImageSession, name: str, file: BinaryIO) -> None:
        await write_content(session, name, path, file)

    return await _compare(session, tool, left, right, write)


async def diff_filters(session: ImageSession, tool: str, left: str, right: str) -> int:
    """Compare the filters of two images."""
    return await _compare(session, tool, left, right, _write_filter)


async def _write_filter(session: ImageSession, name: str, file: BinaryIO) -> None:
    filter_ = (await load_metadata(session, name)).needed_filter
    file.writelines(os.fsencode(line) + b"\n" for line in filter_.lines)


async def diff_triggers(session: ImageSession, tool: str, left: str, right: str) -> int:
    """Compare the triggers of two images."""
    return await _compare(session, tool, left, right, _write_triggers)


async def _write_triggers(session: ImageSession, name: str, file: BinaryIO) -> None:
    triggers = (await load_metadata(session, name)).triggers
    file.write(os.fsencode(triggers_text(triggers.triggers)) + b"\n")


async def diff_build_logs(
    session: ImageSession, tool: str, left: str, right: str
) -> int:
    """Compare the logs of two images' builds."""
    return await _compare(session, tool, left, right, write_build_log)


async def diff_packages(session: ImageSession, tool: str, left: str, right: str) -> int:
    """Compare the packages of two images.

    Raises:
        ImageServerError: an image does not say which it has.
    """
    sides = []
    for side, name in (("left", left), ("right", right)):
        packages = await load_packages(session, name)
        if not packages:
            raise ImageServerError(f"no {side} image package data")
        sides.append(packages)
    both = sides[0] + sides[1]
    with two_files() as files:
        for packages, file in zip(sides, files, strict=True):
            file.write(list_packages(packages, both))
        return await compare_files(session, tool, *files)
