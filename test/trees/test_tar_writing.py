"""File systems as tar archives, and back."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from trees.random_trees import AS_ROOT, RandomTree, describe, scan

from imageserver.errors import CorruptObject, ImageServerError
from imageserver.model.inode import SpecialInode
from imageserver.testing import make_file_system
from imageserver.trees.tar import scan_tar
from imageserver.trees.tar_writing import TarWriter
from imageserver.trees.tree import Tree


def write(tree: Tree, path: Path) -> None:
    """Write an archive of a tree."""
    with open(path, "wb") as file:
        archive = TarWriter(tree.file_system, file)
        for hash_ in archive.hashes:
            writer = archive.receive(hash_)
            with tree.contents[hash_].open() as content:
                writer.write(content.read())
            writer.finish()
        assert archive.finish() == ()


@pytest.mark.parametrize("seed", range(6))
def test_round_trip(tmp_path: Path, seed: int) -> None:
    """A tree in an archive is the same tree, whoever reads it."""
    source = tmp_path / "source"
    RandomTree(source, seed).grow()
    tree = scan(source)
    archive = tmp_path / "tree.tar"
    write(tree, archive)
    again = scan_tar(bytes(archive), None, lambda files, size: None)
    assert describe(again.file_system) == describe(tree.file_system)
    if AS_ROOT:
        (tmp_path / "out").mkdir()
        command = ["tar", "-xpf", archive, "-C", tmp_path / "out", "--numeric-owner"]
        subprocess.run(command, check=True)
        unpacked = scan(tmp_path / "out")
        assert describe(unpacked.file_system) == describe(tree.file_system)


def test_contents_in_order() -> None:
    """Objects are taken in their order only, and as they are."""
    file_system = make_file_system({"a": b"first", "b": b"second"})
    archive = TarWriter(file_system, io.BytesIO())
    first, second = archive.hashes
    with pytest.raises(ImageServerError, match="not wanted"):
        TarWriter(file_system, io.BytesIO()).receive(second)
    writer = archive.receive(first)
    writer.write(b"fir")
    with pytest.raises(CorruptObject, match="wrong length"):
        writer.finish()
    with pytest.raises(ImageServerError, match="missing"):
        archive.finish()


def test_sockets_are_left_out() -> None:
    """What no archive can have is told."""
    file_system = make_file_system({"a": b""})
    (number,) = file_system.inodes or {}
    file_system.inodes[number] = SpecialInode(0o140644)
    archive = TarWriter(file_system, io.BytesIO())
    (left,) = archive.finish()
    assert left.path == b"/a"


def test_old_times() -> None:
    """Times before 1970 come back, too."""
    file_system = make_file_system({"a": b""})
    (number,) = file_system.inodes or {}
    file_system.inodes[number] = SpecialInode(0o010644, 0, 0, 5, -7)
    file = io.BytesIO()
    assert TarWriter(file_system, file).finish() == ()
    assert b"mtime=-6.999999995\n" in file.getvalue()
