"""Bounds on what a decoder accepts from outside."""

from __future__ import annotations

import attrs

MIB = 1 << 20


@attrs.frozen
class Limits:
    """What one stream of gob messages may hold.

    Memory grows only with bytes that arrived: ``docs/gob.md``, "Limits", has by how
    much. These limits bound that, and the work that a small input can ask for.

    Attributes:
        message_bytes: the longest message; also of all messages of one value.
        depth: how deep types and values may nest.
        elements: how many elements the slices, arrays and maps of one value may
            have in all. Not counted are those of byte arrays and skipped fields.
        types: how many types one stream may define.
        fields: how many fields one struct type may have.
    """

    message_bytes: int = 16 * MIB
    depth: int = 64
    elements: int = 8 * MIB
    types: int = 256
    fields: int = 256


DEFAULT_LIMITS = Limits()
