"""Tags: does an image have what a request asks for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def tags_match(
    tags: Mapping[str, str] | None, wanted: Mapping[str, Sequence[str]] | None
) -> bool:
    """Whether, for every wanted key, the tag has one of the listed values."""
    have = tags or {}
    return all(have.get(key) in values for key, values in (wanted or {}).items())
