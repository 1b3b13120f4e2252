"""Decompressing archives, also those that somebody made to do harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imageserver.trees import decompression
from imageserver.trees.decompression import (
    Allowance,
    Decompressor,
    MalformedArchive,
    decompress,
    open_zstd,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KINDS: dict[str, tuple[Callable[[bytes], bytes], Decompressor]] = {
    "gzip": (gzip.compress, gzip.GzipFile),
    "xz": (lzma.compress, lzma.LZMAFile),
    "bzip2": (bz2.compress, bz2.BZ2File),
    "zstd": (zstd.compress, open_zstd),
}
DATA = os.urandom(100_000) * 2
SKIPPED = struct.pack("<II", 0x184D2A5E, 5) + b"chunk"  # zstd: frames of no content


def window(log: int) -> bytes:
    """A frame of zstd with a window of this size, and three bytes in it."""
    block = struct.pack("<I", 3 << 3 | 1)[:3] + b"abc"
    return struct.pack("<IBB", 0xFD2FB528, 0, (log - 10) << 3) + block


def decompressed(path: Path, data: bytes, decompressor: Decompressor) -> bytes:
    """What some bytes become."""
    path.write_bytes(data)
    target = io.BytesIO()
    decompress(bytes(path), decompressor, target, Allowance([bytes(path)]))
    return target.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_it(tmp_path: Path, kind: str) -> None:
    """A file of one or more streams becomes what was compressed."""
    compress, decompressor = KINDS[kind]
    for data in (compress(DATA), compress(DATA[:7]) + compress(DATA[7:])):
        assert decompressed(tmp_path / "x", data, decompressor) == DATA


@pytest.mark.parametrize("kind", KINDS)
def test_damage(tmp_path: Path, kind: str) -> None:
    """A file that is cut anywhere, or something else, is refused."""
    compress, decompressor = KINDS[kind]
    whole = compress(DATA)
    parts = [whole[:size] for size in (1, 3, 20, len(whole) // 2, len(whole) - 1)]
    for data in (*parts, b"something else" * 100):
        with pytest.raises((MalformedArchive, OSError)):
            decompressed(tmp_path / "x", data, decompressor)


@pytest.mark.parametrize("kind", KINDS)
def test_bombs(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What grows out of all proportion is stopped; what is small anyway is not."""
    compress, decompressor = KINDS[kind]
    monkeypatch.setattr(decompression, "_HARMLESS_BYTES", 1 << 20)
    small, bomb = compress(bytes(1 << 20)), compress(bytes(16 << 20))
    assert len(decompressed(tmp_path / "x", small, decompressor)) == 1 << 20
    path = tmp_path / "x"
    path.write_bytes(bomb)
    target = io.BytesIO()
    with pytest.raises(MalformedArchive, match="more than 200 times as large"):
        decompress(bytes(path), decompressor, target, Allowance([bytes(path)] * 9))
    assert target.tell() <= max(1 << 20, 200 * len(bomb))
    path.write_bytes(small)
    allowance = Allowance([bytes(path)])
    decompress(bytes(path), decompressor, io.BytesIO(), allowance)
    with pytest.raises(MalformedArchive, match="more than 200 times as large"):
        decompress(bytes(path), decompressor, io.BytesIO(), allowance)


def test_zstd_frames(tmp_path: Path) -> None:
    """Frames without content are passed over; a frame has at most 128 MiB of memory."""
    one, two = zstd.compress(DATA[:7]), zstd.compress(DATA[7:])
    data = SKIPPED + one + SKIPPED + two + SKIPPED
    assert decompressed(tmp_path / "x", data, open_zstd) == DATA
    assert decompressed(tmp_path / "x", window(27), open_zstd) == b"abc"
    for log in (28, 41):
        with pytest.raises(MalformedArchive, match="too much memory"):
            decompressed(tmp_path / "x", window(log), open_zstd)
