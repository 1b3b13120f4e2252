"""The order of names for people: runs of digits compare as numbers."""

from __future__ import annotations

import re

_PARTS = re.compile(rb"([0-9]+)")


def version_key(name: str) -> tuple[tuple[int, int], ...]:
    """A key that sorts ``a.9`` before ``a.10`` and everything else bytewise."""
    key: list[tuple[int, int]] = []
    for part in _PARTS.split(name.encode("utf-8", "surrogateescape")):
        if part.isdigit():
            # A number stands where its first digit stands among other bytes.
            key.append((ord("0"), int(part)))
        else:
            key.extend((byte, 0) for byte in part)
    return tuple(key)
