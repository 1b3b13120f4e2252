"""Layers of container images, put on top of each other.

A layer is a tar archive. A member ``.wh.NAME`` says that NAME of the layers below is
gone, and ``.wh..wh..opq`` that everything in its directory is that they have there.
What the layer itself has there stays, whichever comes first.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from contextlib import ExitStack

from imageserver.model.filter import Matcher
from imageserver.trees.decompression import Allowance, Decompressor
from imageserver.trees.hash_pool import HashPool
from imageserver.trees.tar import Layer, Members, checked, components, hash_members
from imageserver.trees.tree import (
    DirectoryNode,
    FileNode,
    Found,
    Progress,
    Tree,
    build_tree,
    forget,
)

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_RESERVED = b".wh..wh."

Node = FileNode | DirectoryNode


def scan_layers(
    layers: Sequence[tuple[bytes, Decompressor | None]],
    matcher: Matcher | None,
    progress: Progress,
    found: Found = forget,
) -> Tree:
    """The tree that layers make.

    Args:
        layers: their files, the lowest first, and what decompresses them.
        matcher: matches the paths to leave out.
        progress: called as files are hashed.
        found: called with the content of each file that is hashed, in any thread.

    Raises:
        FileAccessError: one cannot be read.
        MalformedArchive: one is damaged, or has what it must not.
    """
    members = _LayerMembers()
    with ExitStack() as stack:
        with checked(layers[0][0] if layers else b""):
            allowance = Allowance(path for path, _ in layers)
        for path, decompressor in layers:
            with checked(path):
                layer = stack.enter_context(Layer(path, decompressor, allowance))
                members.begin_layer()
                layer.read(members)
        with checked(layers[-1][0] if layers else b""), HashPool(progress) as pool:
            hash_members(members, matcher, pool, found)
    return build_tree(members.root)


class _LayerMembers(Members):
    """Members of several layers."""

    def __init__(self) -> None:
        super().__init__()
        self._below: set[Node] = set()

    def begin_layer(self) -> None:
        """What is there so far is below what comes."""
        self._below = {self.root}
        stack = [self.root]
        while stack:
            for node in stack.pop().entries.values():
                self._below.add(node)
                if isinstance(node, DirectoryNode):
                    stack.append(node)

    def add(self, member: tarfile.TarInfo, layer: Layer) -> None:
        """Add a member, or remove what it says is gone."""
        path = components(member.name)
        name = path[-1] if path else b""
        if not name.startswith(_WHITEOUT):
            super().add(member, layer)
            return
        directory = self._directory(path[:-1])
        if directory is None:
            return
        if name == _OPAQUE:
            for below in list(directory.entries):
                self._remove(directory, below)
        elif not name.startswith(_RESERVED):
            self._remove(directory, name.removeprefix(_WHITEOUT))

    def _directory(self, path: list[bytes]) -> DirectoryNode | None:
        directory: Node | None = self.root
        for name in path:
            if not isinstance(directory, DirectoryNode):
                return None
            directory = directory.entries.get(name)
        return directory if isinstance(directory, DirectoryNode) else None

    def _remove(self, directory: DirectoryNode, name: bytes) -> None:
        """Remove a name of the layers below; what this layer has in it stays."""
        node = directory.entries.get(name)
        if node is None:
            return
        walk: list[tuple[DirectoryNode, bytes, Node]] = [(directory, name, node)]
        for _, _, parent in walk:  # grows meanwhile
            if isinstance(parent, DirectoryNode):
                walk += [
                    (parent, name, child) for name, child in parent.entries.items()
                ]
        for parent, child_name, child in reversed(walk):
            is_empty = not (isinstance(child, DirectoryNode) and child.entries)
            if child in self._below and is_empty:
                del parent.entries[child_name]
