"""What a replica keeps of its master's images."""

from __future__ import annotations

from pathlib import Path

import attrs

from imageserver.errors import ConfigError, InvalidImage
from imageserver.model.filter import Matcher, parse_filter


@attrs.frozen
class Rules:
    """Which images are wanted.

    Attributes:
        exclude: names that are not; ``None``: nothing is excluded.
        include: names that are; ``None``: all.
        archives: whether nothing is ever deleted.
        archives_expiring: whether an archive takes images that expire, too.
        on_demand: whether images that are not wanted are fetched when somebody asks,
            and kept for as long as the master has them.
    """

    exclude: Matcher | None = None
    include: Matcher | None = None
    archives: bool = False
    archives_expiring: bool = False
    on_demand: bool = False

    @property
    def ignores_expiring(self) -> bool:
        """Whether images that expire are left out."""
        return self.archives and not self.archives_expiring

    def wants(self, name: str) -> bool:
        """Whether an image of that name is wanted."""
        path = name.encode("utf-8", "replace")
        if self.exclude is not None and self.exclude.matches(path):
            return False
        return self.include is None or self.include.matches(path)


def load_filter(flag: str, path: str) -> Matcher | None:
    """The filter in a file; ``None`` if no file is named.

    Args:
        flag: names it.
        path: where it is; may be empty.

    Raises:
        ConfigError: it is not there, or is no filter.
    """
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8")
        return Matcher(parse_filter(text).lines)
    except OSError as error:
        text = f"-{flag}: cannot read {path}: {error.strerror}"
        raise ConfigError(text) from error
    except (UnicodeDecodeError, InvalidImage) as error:
        raise ConfigError(f"-{flag}: {path}: {error}") from error
