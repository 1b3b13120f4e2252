"""Replication on a virtual clock and a network in memory."""

from __future__ import annotations

import pytest
from replication.world import World

SEEDS = 100


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_seeds(first: int) -> None:
    """Whatever happens on the way, the replica gets what its master has.

    ``make simulate`` tries many more seeds; a failing one can be run again by its
    number.
    """
    for seed in range(first, first + 10):
        World(seed).run()
