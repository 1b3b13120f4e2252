"""The order of hashes."""

from __future__ import annotations

import random

from imageserver.index.ordering import in_order


def test_order() -> None:
    """It is that of their bytes, whatever they begin with."""
    chance = random.Random(1)
    hashes = [chance.randbytes(64) for _ in range(3_000)] + [b"\0" * 64, b"\xff" * 64]
    assert list(in_order(hashes)) == sorted(hashes)
    assert list(in_order([])) == []
