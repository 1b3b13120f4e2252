"""What the pages show, and to whom."""

from __future__ import annotations

import attrs

from imageserver.errors import ConfigError
from imageserver.flags import DURATION, HOUR, LIST, Flag
from imageserver.web.visit import Section

_GROUP = "Pages"

FLAGS = (
    Flag(
        "openPages",
        LIST,
        (),
        "what everybody may see without a certificate, of: files, flags, logs, stacks",
        _GROUP,
    ),
    Flag(
        "spaceSurveyInterval",
        DURATION,
        24 * HOUR,
        "how often it is measured what only one image or directory uses; 0: never",
        _GROUP,
        least=0,
    ),
)


@attrs.frozen(slots=False)
class PageSettings:
    """What the pages show, and to whom."""

    open_pages: tuple[str, ...]
    space_survey_interval: int

    @property
    def opened_sections(self) -> tuple[str, ...]:
        """What everybody may see.

        Raises:
            ConfigError: there is no such thing.
        """
        unknown = set(self.open_pages) - set(Section)
        if unknown:
            raise ConfigError(
                f"-openPages: there is no {min(unknown)!r}, but: {', '.join(Section)}"
            )
        return self.open_pages
