"""``imagetool``: makes, looks at and fetches images: ``docs/imagetool.md``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from imageserver.errors import ConfigError, ImageServerError
from imageserver.flags import MINUTE, UsageError
from imageserver.tool.command import Program
from imageserver.tool.imagetool_commands import COMMANDS
from imageserver.tool.imagetool_flags import FLAGS
from imageserver.tool.program_main import run_program, starter
from imageserver.tool.settings import Settings

_SHORTEST_EXPIRATION = 15 * MINUTE
_DESCRIPTION = """An image is a tree of files with a name, which machines can be made to
look like. This tool makes images and puts them on an imageserver, gets them back,
compares them, and looks after them. Flags come in front of the command."""

PROGRAM = Program(
    "imagetool",
    "make, look at and fetch images",
    _DESCRIPTION,
    FLAGS,
    COMMANDS,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; the exit code.

    Args:
        argv: the arguments without the program's name; ``None``: the process's.
    """
    start = starter(FLAGS, Settings, "imageserver.tool.imagetool_session")
    return run_program(PROGRAM, argv, _check, start)


def _check(values: Mapping[str, Any]) -> None:
    if not 0 < values["imageServerPortNum"] < 1 << 16:
        raise UsageError(f"no port: {values['imageServerPortNum']}")
    if 0 < values["expiresIn"] < _SHORTEST_EXPIRATION:
        raise ConfigError("Minimum expiration: 15m0s")
    if not values["streams"]:
        raise UsageError("-streams has to be more than 0")
    if values["filterFile"]:
        # Expressions take time to load, and few commands need them.
        files = importlib.import_module("imageserver.tool.input_files")
        try:
            files.load_filter(values["filterFile"])
        except ImageServerError as error:
            raise ConfigError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
