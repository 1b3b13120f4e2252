"""Commands that put filter and triggers files together; they need no server."""

from __future__ import annotations

from imageserver.model.merging import merge_filters as merge_all_filters
from imageserver.model.merging import merge_triggers as merge_all_triggers
from imageserver.tool.input_files import load_filter, load_triggers
from imageserver.tool.settings import Connecting
from imageserver.tool.talk import Talk
from imageserver.tool.triggers_text import triggers_text


def merge_filters(settings: Connecting, *paths: str) -> int:
    """Print what filter files say together."""
    filters = [load_filter(path) for path in paths]
    merged = merge_all_filters([item for item in filters if item is not None])
    talk = Talk(settings)
    if talk.as_json:
        talk.json({"lines": merged.lines})
    else:
        talk.lines(merged.lines)
    return 0


def merge_triggers(settings: Connecting, *paths: str) -> int:
    """Print what triggers files say together."""
    triggers = [load_triggers(path) for path in paths]
    merged = merge_all_triggers([item for item in triggers if item is not None])
    Talk(settings).lines([triggers_text(merged.triggers)])
    return 0
