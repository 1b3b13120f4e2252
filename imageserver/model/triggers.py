"""Triggers: which service to restart when which files change."""

from __future__ import annotations

import json
from typing import Any

from imageserver import gob
from imageserver.errors import InvalidImage
from imageserver.gob import BOOL, STRING


@gob.struct("Trigger")
class Trigger:
    """Expressions for paths, and what to do when a matching path changes."""

    match_lines: tuple[str, ...] = gob.field("MatchLines", gob.Slice(STRING))
    service: str = gob.field("Service", STRING)
    sort_name: str = gob.field("SortName", STRING, omit_empty=True)
    do_reboot: bool = gob.field("DoReboot", BOOL, omit_empty=True)
    do_reload: bool = gob.field("DoReload", BOOL, omit_empty=True)
    high_impact: bool = gob.field("HighImpact", BOOL, omit_empty=True)


@gob.struct("Triggers")
class Triggers:
    """The triggers of an image."""

    triggers: tuple[Trigger, ...] = gob.field(
        "Triggers", gob.Slice(gob.Struct(Trigger))
    )


def parse_triggers(text: str) -> Triggers:
    """The triggers in a triggers file: a JSON array, with comment lines.

    Raises:
        InvalidImage: the text is not such an array.
    """
    lines = [
        line
        for line in text.split("\n")
        if not line.lstrip(" \t").startswith(("#", "//"))
    ]
    try:
        items = json.loads("\n".join(lines))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidImage(f"error decoding triggers {error}") from error
    if not isinstance(items, list):
        raise InvalidImage("error decoding triggers: not an array")
    return Triggers(tuple(_trigger(item) for item in items))


def _trigger(item: Any) -> Trigger:
    if not isinstance(item, dict):
        raise InvalidImage("error decoding triggers: not an object")
    values: dict[str, Any] = {}
    for field in gob.struct_info(Trigger).fields:
        value = item.get(field.name)
        if value is None:
            continue
        if isinstance(field.type, gob.Slice):
            if not isinstance(value, list) or not all(
                isinstance(line, str) for line in value
            ):
                raise InvalidImage(
                    f"error decoding triggers: {field.name} is not an array of strings"
                )
            value = tuple(value)
        elif not isinstance(value, type(field.type.zero)):
            raise InvalidImage(
                f"error decoding triggers: {field.name} has a wrong type"
            )
        values[field.attribute] = value
    return Trigger(**values)
