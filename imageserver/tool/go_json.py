"""JSON as the reference lays it out."""

from __future__ import annotations

import json
from typing import Any

_INDENT = 4
_HTML = str.maketrans(
    {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
)


_MEMBERS_OF_IMAGES = (
    "InformationDatabaseURL",
    "BuildBranch",
    "BuildCommitId",
    "BuildGitUrl",
    "CreatedBy",
    "CreatedFor",
    "Filter",
    "FileSystem",
    "Triggers",
    "ReleaseNotes",
    "BuildLog",
    "CreatedOn",
    "ExpiresAt",
    "OwnerGroups",
    "OwnerUsers",
    "Packages",
    "SourceImage",
    "Tags",
)


def image_text(text: str, information_url: str = "") -> str:
    """The JSON of an image as the reference prints it.

    Args:
        text: the image, in the form of :mod:`imageserver.gojson`.
        information_url: the address of more about it.
    """
    value: dict[str, Any] = json.loads(text)
    if information_url:
        value["InformationDatabaseURL"] = information_url
    ordered = {name: value[name] for name in _MEMBERS_OF_IMAGES if name in value}
    return _dump(_without_empty_arrays(ordered))


def _without_empty_arrays(value: Any) -> Any:
    """A slice without elements does not come through gob."""
    if isinstance(value, dict):
        return {name: _without_empty_arrays(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_empty_arrays(item) for item in value] or None
    return value


def indent(text: str) -> str:
    """JSON with a member or element on each line; text stays as it is escaped.

    Args:
        text: JSON in the form of :mod:`imageserver.gojson`.
    """
    return _dump(json.loads(text))


def _dump(value: Any) -> str:
    # Only strings can hold these characters.
    return json.dumps(value, indent=_INDENT, ensure_ascii=False).translate(_HTML)
