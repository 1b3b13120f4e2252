"""Files that set flags: ``docs/imagetool.md``, "Flags in files"."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from imageserver.errors import ConfigError
from imageserver.flags import FlagSet
from imageserver.tool.terminal import tell

_SYSTEM = Path("/etc/config")
_NAMES = ("flags.default", "flags.extra")


def read_flag_files(
    flags: FlagSet, program: str, home: str | None, system: Path = _SYSTEM
) -> dict[str, Any]:
    """The values of flags that no command line has set.

    Args:
        flags: which there are.
        program: the name of the program; that of its folders.
        home: the user's directory; ``None`` or empty: none.
        system: where the machine's folders are; errors in there are only told.

    Raises:
        ConfigError: a file of the user is wrong.
    """
    values = flags.defaults()
    try:
        _read(flags, values, system / program)
    except ConfigError as error:
        tell(f"Warning: {error}")
    if home:
        _read(flags, values, Path(home) / ".config" / program)
    return values


def _read(flags: FlagSet, values: dict[str, Any], folder: Path) -> None:
    for name in _NAMES:
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        try:
            flags.parse_file_text(text, values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
