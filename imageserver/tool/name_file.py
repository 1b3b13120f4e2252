"""Files in a tree that say which image it was made of."""

from __future__ import annotations

import contextlib
import os

from imageserver.tool.terminal import tell

INITIAL_IMAGE = "initial-image"
PATCHED_IMAGE = "patched-image"
_FOLDER = ("var", "lib")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def write_name(file_name: str, name: str, target: str) -> None:
    """Leave the image's name where the machine looks for it.

    What the image has in that place may be a link to anywhere: none is followed. If
    it cannot be done, that is told.

    Args:
        file_name: the name of the file that is to say it.
        name: the name of the image.
        target: the tree.
    """
    directory = os.open(target, _DIRECTORY)
    try:
        for component in _FOLDER:
            with contextlib.suppress(FileExistsError):
                os.mkdir(component, 0o755, dir_fd=directory)
            below = os.open(component, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = below
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file_name, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(file_name, flags, 0o644, dir_fd=directory), "wb") as file:
            file.write(f"{name}\n".encode())
    except OSError as error:
        tell(f"left out: /var/lib/{file_name}: {error.strerror}")
    finally:
        os.close(directory)
