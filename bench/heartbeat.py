"""The daemon with a heartbeat in its reactor, which tells how long it was kept waiting.

::

    python -m bench.heartbeat FILE <flags of the daemon>

Each beat that comes late is a line of FILE: when it came (as ``time.monotonic``), by
how much it was late, and how much of that the reactor's thread was working, in seconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import attrs

from imageserver import daemon

_BEAT_S = 0.005
_LATE_S = 0.005


@attrs.frozen
class Late:
    """A beat that came late.

    Attributes:
        at_s: when.
        by_s: by how much.
        working_s: how much of it the reactor's thread was working itself.
    """

    at_s: float
    by_s: float
    working_s: float


def read_late(path: Path, since_s: float) -> list[Late]:
    """Late beats from some time on."""
    lines = path.read_text().splitlines()
    beats = [Late(*map(float, line.split())) for line in lines if line.count(" ") == 2]
    return [beat for beat in beats if beat.at_s >= since_s]


def main() -> int:
    """Run the daemon."""
    from twisted.internet import reactor  # noqa: PLC0415 - the daemon chooses it

    file = open(sys.argv[1], "w", buffering=1)
    last_s, last_working_s = time.monotonic(), time.thread_time()

    def beat() -> None:
        nonlocal last_s, last_working_s
        now_s, working_s = time.monotonic(), time.thread_time()
        late_s = now_s - last_s - _BEAT_S
        if late_s > _LATE_S:
            file.write(f"{now_s:.6f} {late_s:.6f} {working_s - last_working_s:.6f}\n")
        last_s, last_working_s = time.monotonic(), time.thread_time()
        reactor.callLater(_BEAT_S, beat)

    reactor.callWhenRunning(beat)
    return daemon.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
