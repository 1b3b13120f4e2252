"""How triggers are printed."""

from __future__ import annotations

from imageserver import gob, gojson
from imageserver.model.triggers import Trigger
from imageserver.tool.go_json import indent


def triggers_text(triggers: tuple[Trigger, ...]) -> str:
    """Triggers as a triggers file has them."""
    type_ = gob.Slice(gob.Struct(Trigger))
    return indent(gojson.encode(triggers, type_).decode())
