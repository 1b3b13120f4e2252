"""Flags whose values are tags."""

from __future__ import annotations

from imageserver.flags import Kind


def _parse_match_tags(text: str) -> dict[str, tuple[str, ...]]:
    """``k=v,k=v2,k2=v3``: the values that each tag may have."""
    wanted: dict[str, tuple[str, ...]] = {}
    for item in text.split(",") if text else ():
        key, value = _split(item)
        if value not in wanted.get(key, ()):
            wanted[key] = (*wanted.get(key, ()), value)
    return wanted


def _show_match_tags(tags: dict[str, tuple[str, ...]]) -> str:
    return ",".join(f"{key}={value}" for key in tags for value in tags[key])


def _split(item: str) -> tuple[str, str]:
    if item.count("=") != 1:
        raise ValueError(f'malformed tag: "{item}"')
    key, _, value = item.partition("=")
    return key, value


MATCH_TAGS = Kind("tags", _parse_match_tags, _show_match_tags)
