"""``objecttool``: puts objects on a server and gets them: ``docs/imagetool.md``."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from imageserver.flags import UsageError
from imageserver.tool.command import Command, Program
from imageserver.tool.objecttool_commands import COMMANDS, FLAGS
from imageserver.tool.program_main import run_locally, run_program
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
    return run_program(PROGRAM, argv, _check, _start)


def _check(values: Mapping[str, Any]) -> None:
    if not 0 < values["objectServerPortNum"] < 1 << 16:
        raise UsageError(f"no port: {values['objectServerPortNum']}")
    if values["chunkSize"] > _LARGEST_CHUNK:
        raise UsageError(f"-chunkSize may be {_LARGEST_CHUNK} at most")
    if values["testDuration"] <= 0:
        raise UsageError("-testDuration has to be more than 0")


def _start(
    command: Command, arguments: Sequence[str], values: Mapping[str, Any]
) -> int:
    settings = FLAGS.decode(values, ObjectSettings)
    if command.local:
        return run_locally(command, settings, arguments)
    # Twisted takes time to load, which local commands do without; looking for garbage
    # meanwhile would take a tenth more.
    gc.disable()
    starting = importlib.import_module("imageserver.tool.objecttool_session")
    code: int = starting.run_with_session(command, arguments, settings)
    return code


if __name__ == "__main__":
    sys.exit(main())
