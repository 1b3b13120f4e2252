"""``imagetool search``: paths in images."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable

from imageserver.model.inode import RegularInode
from imageserver.model.paths import Node, walk
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.queries import select_names
from imageserver.tool.typed_image import load_image
from imageserver.trees.description import describe

_HASH = re.compile("[0-9a-fA-F]{128}")
_NOTHING_FOUND = 1

Test = Callable[[Node], bool]


async def search(session: ImageSession, pattern: str, *names: str) -> int:
    """Find paths in images; 1 if there are none."""
    test = _make_test(pattern)
    found = False
    results = []
    for name in names or await select_names(session):
        image = await load_image(session, name)
        nodes = [node for node in walk(image.file_system) if test(node)]
        found = found or bool(nodes)
        if session.talk.as_json:
            results += [
                {"image": name, **describe(node.path, node.inode)} for node in nodes
            ]
        else:
            session.talk.lines(f"{name}: {os.fsdecode(node.path)}" for node in nodes)
    if session.talk.as_json:
        session.talk.json(results)
    return 0 if found else _NOTHING_FOUND


def _make_test(pattern: str) -> Test:
    if _HASH.fullmatch(pattern):
        hash_ = bytes.fromhex(pattern)
        return lambda node: (
            isinstance(node.inode, RegularInode) and (node.inode.hash_ == hash_)
        )
    matches = re.compile(fnmatch.translate(pattern)).match
    if "/" in pattern:
        return lambda node: matches(os.fsdecode(node.path)) is not None
    return lambda node: matches(os.fsdecode(node.path.rpartition(b"/")[2])) is not None
