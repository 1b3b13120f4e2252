"""What a small input may take: the rules that hold for every target."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import wraps

MEMORY_BYTES = 8 << 20
MEMORY_FACTOR = 2
CPU_S = 0.25
"""For a few kilobytes, watched by the fuzzer; what is linear takes a tenth of it."""


def peak_bytes() -> int:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def bounded(
    run: Callable[[bytes], None],
    peak: Callable[[], int] = peak_bytes,
    clock: Callable[[], float] = time.process_time,
) -> Callable[[bytes], None]:
    """Let ``run`` fail if an input takes too much memory or time.

    Args:
        run: what takes the input.
        peak: the most memory so far, in bytes.
        clock: the processor time so far, in seconds.
    """

    @wraps(run)
    def run_bounded(data: bytes) -> None:
        bytes_before, s_before = peak(), clock()
        run(data)
        more_bytes, more_s = peak() - bytes_before, clock() - s_before
        assert more_bytes <= MEMORY_BYTES + MEMORY_FACTOR * len(data), more_bytes
        assert more_s <= CPU_S, more_s

    return run_bounded
