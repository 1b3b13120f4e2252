"""Simulates replication with many seeds: ``make simulate``."""

from __future__ import annotations

import sys
import time

from replication.world import World


def main() -> None:
    """Run so many seeds, beginning with one; a failure names its own."""
    count, first = int(sys.argv[1]), int(sys.argv[2])
    began_s, kills = time.monotonic(), 0
    for seed in range(first, first + count):
        world = World(seed)
        try:
            world.run()
        except BaseException:
            print(f"seed {seed} failed: make simulate SEEDS=1 SEED={seed}")
            raise
        kills += world.kills
    took_s = time.monotonic() - began_s
    print(f"{count} seeds from {first} on, {kills} kills, {took_s:.0f} s: all converge")


if __name__ == "__main__":
    main()
