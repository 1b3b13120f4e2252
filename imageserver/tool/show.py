"""Commands that show an image, or what it has besides files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imageserver import gob, gojson
from imageserver.model.filter import Matcher
from imageserver.model.paths import Node, walk
from imageserver.tool.go_json import image_text
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_filter
from imageserver.tool.terminal import BLUE, RED, paint, tell
from imageserver.tool.triggers_text import triggers_text
from imageserver.tool.typed_image import load_flat, load_image, load_metadata
from imageserver.tool.units import show_bytes
from imageserver.tool.whole_file import write_file
from imageserver.trees.description import describe
from imageserver.trees.flat_listing import FlatLister
from imageserver.trees.usage import estimate_usage as estimate

_STANDARD_OUTPUT = "-"
_MODE_COLUMNS = 10
_SET_ID = re.compile("-..s|-.....s")


async def show(session: ImageSession, name: str) -> int:
    """List the files of an image."""
    settings = session.settings
    filter_ = load_filter(settings.filter_file)
    matcher = None if filter_ is None else Matcher(filter_.lines)
    if not session.talk.as_json:
        loaded = await load_flat(session, name)
        lister = FlatLister(skip_fields=settings.skip_fields)
        painter = None if "m" in settings.skip_fields else paint_listing
        session.talk.lines(lister.lines(loaded.tree, matcher), painter)
    else:
        image = await load_image(session, name)
        nodes = _select(walk(image.file_system), matcher)
        session.talk.json([describe(node.path, node.inode) for node in nodes])
    return 0


def paint_listing(line: str) -> str:
    """Mark directories, and programs that run with the rights of others."""
    if line.startswith("d"):
        columns, slash, path = line.partition(" /")
        return f"{columns} {paint(f'/{path}', BLUE)}" if slash else line
    if _SET_ID.match(line):
        return paint(line[:_MODE_COLUMNS], RED) + line[_MODE_COLUMNS:]
    return line


def _select(nodes: Iterator[Node], matcher: Matcher | None) -> Iterator[Node]:
    return (node for node in nodes if not (matcher and matcher.matches(node.path)))


async def show_metadata(session: ImageSession, name: str) -> int:
    """Print what an image has besides files, as JSON."""
    loaded = await load_metadata(session, name)
    text = gojson.encode(loaded.whole).decode()
    session.talk.lines([image_text(text, loaded.information_url)])
    return 0


async def show_filter(session: ImageSession, name: str) -> int:
    """Print the filter of an image."""
    filter_ = (await load_metadata(session, name)).needed_filter
    matcher = Matcher(filter_.lines)
    if session.talk.as_json:
        session.talk.json({"lines": filter_.lines, "not_optimised": matcher.slow_lines})
        return 0
    session.talk.lines(filter_.lines)
    if matcher.slow_lines:
        tell("The following filter expressions are not optimised:")
        for line in matcher.slow_lines:
            tell(line)
    return 0


async def show_triggers(session: ImageSession, name: str) -> int:
    """Print the triggers of an image, as JSON."""
    triggers = (await load_metadata(session, name)).triggers
    session.talk.lines([triggers_text(triggers.triggers)])
    return 0


async def estimate_usage(session: ImageSession, name: str) -> int:
    """Print how much space an image takes unpacked."""
    size = estimate((await load_image(session, name)).file_system)
    if session.talk.as_json:
        session.talk.json({"bytes": size})
    else:
        session.talk.lines([show_bytes(size)])
    return 0


async def get_archive_data(session: ImageSession, name: str, target: str) -> int:
    """Write what an image has besides files, filter and triggers."""
    loaded = await load_metadata(session, name)
    image = gob.evolve(loaded.whole, filter=None, triggers=None, file_system=None)
    if target == _STANDARD_OUTPUT:
        session.talk.lines([_as_json(image)])
        return 0
    if Path(target).suffix == ".json":
        data = os.fsencode(_as_json(image)) + b"\n"
    else:
        data = gob.Encoder().encode(image)
    await session.blocking(write_file, target, data)
    return 0


def _as_json(value: Any) -> str:
    return image_text(gojson.encode(value).decode())
