"""``imagetool tar``: an image as a tar file."""

from __future__ import annotations

import contextlib
import gzip
import io
from typing import BinaryIO, cast

from imageserver.model.tree import show
from imageserver.tool.get import prepare
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.progress import ProgressBar
from imageserver.tool.whole_file import output
from imageserver.trees.tar_writing import TarWriter

_BUFFER_BYTES = 1 << 20
_LEVEL = 6


async def tar_image(session: ImageSession, name: str, target: str = "") -> int:
    """Write an image as a tar file, or to standard output."""
    source = await prepare(session, name)
    size = source.file_system.data_bytes
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(output(target))
        if session.settings.compress:
            compressed = gzip.GzipFile("", "wb", _LEVEL, out, mtime=0)
            out = cast(BinaryIO, stack.enter_context(compressed))
        file = io.BufferedWriter(cast(io.RawIOBase, out), _BUFFER_BYTES)
        archive = await session.blocking(TarWriter, source.file_system, file)
        with ProgressBar("Writing", size, session.talk.is_quiet) as bar:
            await source.fetcher.fetch(archive.hashes, archive.receive, bar.advance)
        left_out = await session.blocking(archive.finish)
        await session.blocking(file.flush)
        file.detach()
    for item in left_out:
        session.talk.warn(f"left out: {show(item.path)}: {item.reason}")
    return 0
