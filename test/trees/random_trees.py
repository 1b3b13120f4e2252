"""Random trees on disk, with everything that is hard to keep."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from imageserver.model.file_system import FileSystem
from imageserver.model.paths import walk
from imageserver.trees.scan import scan_directory
from imageserver.trees.tree import Tree

AS_ROOT = os.geteuid() == 0
NAMES = (
    b"a",
    b"b",
    b"with space",
    b"new\nline",
    b"not-utf8-\xff\xfe",
    b"-flag",
    "\u00fcml\u00e4ut".encode(),
    b"x" * 200,
)
CONTENTS = (b"", b"one", b"two", b"three" * 10_000)


def scan(path: Path) -> Tree:
    """What is in a directory."""
    return scan_directory(bytes(path), None, lambda files, size: None)


def describe(file_system: FileSystem) -> dict[bytes, object]:
    """What a file system amounts to: inodes by path, but for their numbers."""
    first: dict[int, bytes] = {}
    found: dict[bytes, object] = {
        b"": (file_system.root.mode, file_system.root.uid, file_system.root.gid)
    }
    nodes = sorted(walk(file_system), key=lambda node: node.path)
    for node in nodes:
        link = first.setdefault(node.number, node.path)
        is_directory = stat.S_ISDIR(getattr(node.inode, "mode", 0))
        if is_directory:
            found[node.path] = (node.inode.mode, node.inode.uid, node.inode.gid)
        else:
            found[node.path] = (node.inode, link)
    return found


class RandomTree:
    """Makes and changes a tree."""

    def __init__(self, root: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        self._root = bytes(root)
        os.makedirs(self._root, exist_ok=True)

    def grow(self, count: int = 30) -> None:
        """Make some things in it."""
        for _ in range(count):
            self._chance.choice(
                (
                    self._make_file,
                    self._make_file,
                    self._make_directory,
                    self._make_directory,
                    self._make_link,
                    self._make_symlink,
                    self._make_special,
                )
            )()

    def change(self, count: int = 15) -> None:
        """Change some things in it."""
        for _ in range(count):
            path = self._any()
            if path is None:
                continue
            action = self._chance.randrange(4)
            if action == 0:
                self._remove(path)
            elif action == 1 and not os.path.islink(path):
                os.chmod(path, self._chance.choice((0o700, 0o755, 0o777, 0o4755)))
            elif action == 2 and not os.path.isdir(path) and not os.path.islink(path):
                os.utime(path, ns=(0, self._chance.randrange(10**18)))
            else:
                self.grow(1)

    def _paths(self) -> list[bytes]:
        return [
            os.path.join(folder, name)
            for folder, folders, names in os.walk(self._root)
            for name in (*folders, *names)
        ]

    def _any(self, fits: Callable[[bytes], bool] = os.path.lexists) -> bytes | None:
        fitting = sorted(path for path in self._paths() if fits(path))
        return self._chance.choice(fitting) if fitting else None

    def _new(self) -> bytes:
        folders = sorted(
            path
            for path in (self._root, *self._paths())
            if os.path.isdir(path) and not os.path.islink(path)
        )
        path = os.path.join(self._chance.choice(folders), self._chance.choice(NAMES))
        self._remove(path)
        return path

    def _remove(self, path: bytes) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    def _finish(self, path: bytes) -> None:
        if AS_ROOT:
            owner = self._chance.randrange(3), self._chance.randrange(3)
            os.chown(path, *owner, follow_symlinks=False)
        if not os.path.islink(path):
            os.chmod(path, self._chance.choice((0o600, 0o644, 0o755, 0o6755)))
            os.utime(path, ns=(0, self._chance.randrange(10**18)))

    def _make_file(self) -> None:
        path = self._new()
        with open(path, "wb") as file:
            file.write(self._chance.choice(CONTENTS))
        self._finish(path)

    def _make_directory(self) -> None:
        path = self._new()
        os.mkdir(path)
        if AS_ROOT:
            os.chown(path, self._chance.randrange(3), 0)
        os.chmod(path, self._chance.choice((0o700, 0o755, 0o1777)))

    def _make_link(self) -> None:
        other = self._any(lambda path: not os.path.isdir(path) or os.path.islink(path))
        path = self._new()
        if other is not None and os.path.lexists(other):
            os.link(other, path, follow_symlinks=False)

    def _make_symlink(self) -> None:
        path = self._new()
        targets = (b"a", b"../../etc/passwd", b"/etc", b"to-\xff-nowhere")
        os.symlink(self._chance.choice(targets), path)
        self._finish(path)

    def _make_special(self) -> None:
        path = self._new()
        if AS_ROOT and self._chance.random() < 0.5:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        else:
            os.mkfifo(path)
        self._finish(path)
