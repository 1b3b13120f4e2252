"""``objecttool``: puts objects on a server and gets them: ``docs/imagetool.md``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from imageserver.flags import UsageError
from imageserver.tool.command import Program
from imageserver.tool.objecttool_commands import COMMANDS, FLAGS
from imageserver.tool.program_main import run_program, starter
from imageserver.tool.settings import ObjectSettings

_LARGEST_CHUNK = 65535
_DESCRIPTION = """An object is any content, named by its SHA-512. Images are made of
objects; this tool handles single ones. Flags come in front of the command."""

PROGRAM = Program(
    "objecttool",
    "put objects on an imageserver, and get them",
    _DESCRIPTION,
    FLAGS,
    COMMANDS,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; the exit code.

    Args:
        argv: the arguments without the program's name; ``None``: the process's.
    """
    start = starter(FLAGS, ObjectSettings, "imageserver.tool.objecttool_session")
    return run_program(PROGRAM, argv, _check, start)


def _check(values: Mapping[str, Any]) -> None:
    if not 0 < values["objectServerPortNum"] < 1 << 16:
        raise UsageError(f"no port: {values['objectServerPortNum']}")
    if values["chunkSize"] > _LARGEST_CHUNK:
        raise UsageError(f"-chunkSize may be {_LARGEST_CHUNK} at most")
    if values["testDuration"] <= 0:
        raise UsageError("-testDuration has to be more than 0")


if __name__ == "__main__":
    sys.exit(main())
