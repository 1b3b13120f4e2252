"""Decompresses archives, and stops at those that would fill the disk."""

from __future__ import annotations

import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterable
from io import BufferedIOBase
from types import ModuleType
from typing import BinaryIO, TypeAlias, cast

from imageserver.errors import ImageServerError
from imageserver.model.tree import show
from imageserver.trees.tree import PIECE_BYTES

Decompressor: TypeAlias = Callable[[bytes], BufferedIOBase]

_HARMLESS_BYTES = 1 << 30
_GROWTH = 200  # programs and documents grow to 3 or 10 times their compressed size


class MalformedArchive(ImageServerError):
    """An archive is damaged, or holds what no file system can hold."""


def open_zstd(path: bytes) -> BufferedIOBase:
    """Open a file that was compressed with zstd.

    Frames whose window is larger than 128 MiB are refused.
    """
    return cast(BufferedIOBase, _zstd().ZstdFile(path))


class Allowance:
    """How large some files may become when they are decompressed.

    Together, and however often each is used: 1 GiB, or 200 times their size.
    """

    def __init__(self, paths: Iterable[bytes]) -> None:
        """Allow what is right for some files.

        Raises:
            OSError: the system refuses.
        """
        size = sum(os.stat(path).st_size for path in set(paths))
        self._left = max(_HARMLESS_BYTES, _GROWTH * size)

    def use(self, size: int, path: bytes) -> None:
        """Use so many bytes for one of them.

        Raises:
            MalformedArchive: that is too much.
        """
        self._left -= size
        if self._left < 0:
            raise MalformedArchive(
                f"{show(path)} becomes more than {_GROWTH} times as large when it is"
                " decompressed; if it is to, decompress it first"
            )


def decompress(
    path: bytes, decompressor: Decompressor, target: BinaryIO, allowance: Allowance
) -> None:
    """Decompress a file into another one.

    Args:
        path: the compressed file.
        decompressor: opens it.
        target: takes the content.
        allowance: how much that may be.

    Raises:
        MalformedArchive: it is damaged, or becomes too large.
        OSError: the system refuses.
    """
    try:
        with decompressor(path) as source:
            while piece := source.read(PIECE_BYTES):
                allowance.use(len(piece), path)
                target.write(piece)
    except _damage_errors() as error:
        raise MalformedArchive(f"damaged archive: {show(path)}: {error}") from error


def _damage_errors() -> tuple[type[Exception], ...]:
    return EOFError, zlib.error, lzma.LZMAError, _zstd().ZstdError


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - few archives need it
    else:
        from backports import zstd  # noqa: PLC0415 - few archives need it
    return zstd
