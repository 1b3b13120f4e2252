"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from imageserver.errors import ImageServerError

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PUBLIC = 0o644


def write_file(path: str, data: bytes, mode: int = _PUBLIC) -> None:
    """Write a file; what was there under that name stays until all is written.

    Raises:
        ImageServerError: the system refuses.
    """
    with new_file(path, mode) as file:
        file.write(data)


@contextmanager
def new_file(path: str, mode: int = _PUBLIC) -> Iterator[BinaryIO]:
    """A file to write, which gets its name at the end of the block, if all goes well.

    What is no file, such as ``/dev/stdout`` or a FIFO, is written as it is.

    Raises:
        ImageServerError: the system refuses.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                yield file
            return
        temporary = f"{path}.{secrets.token_hex(8)}~"
        try:
            with os.fdopen(os.open(temporary, _FLAGS, mode), "wb") as file:
                yield file
            os.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise ImageServerError(f"{path}: {error.strerror or error}") from error


@contextmanager
def output(path: str, mode: int = _PUBLIC) -> Iterator[BinaryIO]:
    """A new file, or standard output if ``path`` is empty.

    Raises:
        ImageServerError: the system refuses.
    """
    if path:
        with new_file(path, mode) as file:
            yield file
    else:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
