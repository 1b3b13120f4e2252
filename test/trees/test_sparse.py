"""Files with holes."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from trees.random_trees import scan

from imageserver.trees.tree import write_sparsely
from imageserver.trees.unpack import Unpacker

PARTS = (b"", b"x", bytes(100), bytes(4095), bytes(4096), bytes(20_000), b"\1" * 5_000)


@pytest.mark.parametrize("seed", range(20))
def test_content(tmp_path: Path, seed: int) -> None:
    """Whatever the zeros and the pieces, the content is the same."""
    chance = random.Random(seed)
    content = b"".join(chance.choices(PARTS, k=20))
    path = tmp_path / "file"
    with open(path, "wb") as file:
        position, has_holes = 0, False
        while position < len(content):
            piece = content[position : position + chance.randint(1, 30_000)]
            has_holes |= write_sparsely(file.fileno(), piece, position)
            position += len(piece)
        assert has_holes or os.fstat(file.fileno()).st_size == len(content)
        os.ftruncate(file.fileno(), len(content))
    assert path.read_bytes() == content


@pytest.mark.parametrize("begin", [0, 1, 4095, 4096, 5000])
@pytest.mark.parametrize("length", [4095, 4096, 8191, 8192])
@pytest.mark.parametrize("position", [0, 1, 4096])
def test_holes(tmp_path: Path, begin: int, length: int, position: int) -> None:
    """Every whole block of zeros is left out, wherever it begins."""
    piece = b"x" * begin + bytes(length) + b"x" * 3
    first, last = -(-(position + begin) // 4096), (position + begin + length) // 4096
    with open(tmp_path / "file", "wb") as file:
        assert write_sparsely(file.fileno(), piece, position) == (last > first)
        status = os.fstat(file.fileno())
    blocks = (
        -(-(position + len(piece)) // 4096) - position // 4096 - max(0, last - first)
    )
    assert status.st_blocks * 512 == blocks * 4096


def test_unpacking(tmp_path: Path) -> None:
    """A large file that is a hole takes no space when it was unpacked."""
    size = 64 << 20
    (tmp_path / "source").mkdir()
    with open(tmp_path / "source/file", "wb") as file:
        file.truncate(size)
        os.pwrite(file.fileno(), b"data", 10 << 20)
    tree = scan(tmp_path / "source")
    with Unpacker(tree.file_system, bytes(tmp_path / "copy")) as plan:
        plan.make_skeleton()
        ((hash_, _),) = plan.wanted()
        with plan.receive(hash_) as writer, tree.contents[hash_].open() as file:
            while piece := file.read(1 << 20):
                writer.write(piece)
            writer.finish()
        plan.finish()
    status = (tmp_path / "copy/file").stat()
    assert status.st_size == size
    assert status.st_blocks * 512 < 1 << 20
    assert (tmp_path / "copy/file").read_bytes()[10 << 20 :][:5] == b"data\0"
