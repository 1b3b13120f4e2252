"""Flags files: flags that are read before those of the command line.

Source: docs/operations.md, "Flags files".
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imageserver.errors import ConfigError
from imageserver.flags import FlagSet

FLAGS_FILES = (
    Path("/etc/imageserver/flags.default"),
    Path("/etc/imageserver/flags.extra"),
)


def read_flags_files(
    flag_set: FlagSet, paths: Iterable[Path], values: dict[str, Any]
) -> set[str]:
    """Change ``values`` as the files say, in their order; they may be missing.

    Returns:
        The names of the flags that they set.

    Raises:
        ConfigError: a file cannot be read, or has a bad line.
    """
    names: set[str] = set()
    for path in paths:
        try:
            names |= flag_set.parse_file_text(path.read_text(), values)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not UTF-8") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    return names
