"""Notices a reference implementation at work on our directories.

It takes no locks. So its processes are looked for: they are named ``imageserver``, and
have our flags.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from imageserver.config.flags_files import FLAGS_FILES, read_flags_files
from imageserver.config.settings import FLAGS
from imageserver.errors import ConfigError
from imageserver.flags import HelpRequested

_NAME = "imageserver"
_FLAGS = ("imageDir", "objectDir")


def refuse_reference(
    directories: Iterable[Path],
    processes: Path = Path("/proc"),
    flags_files: Iterable[Path] = FLAGS_FILES,
) -> None:
    """Look whether a reference implementation works on one of these directories.

    Processes of other users may be hidden from us: then it is not found.

    Args:
        directories: those that we want to use.
        processes: where the system tells about processes.
        flags_files: what such a process has read before its command line.

    Raises:
        ConfigError: it does.
    """
    ours = list(directories)
    values = FLAGS.defaults()
    with suppress(ConfigError):
        read_flags_files(FLAGS, flags_files, values)
    for process in processes.glob("[0-9]*"):
        for used in _directories(process, values):
            for directory in ours:
                if _is_same(used, directory):
                    raise ConfigError(
                        f"another imageserver (process {process.name}) uses {directory}"
                    )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # not there, or not for our eyes
        return False


def _directories(process: Path, values: dict[str, object]) -> Iterator[Path]:
    """What the process works on, if it is one of those."""
    try:
        command = os.fsdecode((process / "cmdline").read_bytes())
    except OSError:  # it has just ended
        return
    program, *arguments = command.split("\0")
    if Path(program).name != _NAME:
        return
    try:
        parsed = FLAGS.parse(arguments, values)
    except (ConfigError, HelpRequested):
        return
    for flag in _FLAGS:
        directory = Path(parsed.values[flag])
        # It may be in a container, where names mean something else.
        if directory.is_absolute():
            yield process / "root" / directory.relative_to("/")
        else:
            yield process / "cwd" / directory
