"""The daemon as a process that is watched: what it spends, and how long it stalls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from dawdlers import client_context
from processes import Daemon

from bench.heartbeat import read_late
from bench.measure import Row
from bench.srpc import Bench


@attrs.frozen
class Spent:
    """What something took.

    Attributes:
        wall_s: time.
        cpu_s: processor time of the server.
        peak_bytes: the most memory that it had.
        stall_s: how long its reactor was kept from anything else, at most.
        result: what came of it.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    stall_s: float
    result: int


@attrs.frozen
class Watched:
    """A daemon with a heartbeat in its reactor.

    Attributes:
        bench: how to reach it.
        beats: the file of its late beats.
    """

    bench: Bench
    beats: Path

    def spend(self, function: Callable[[], int]) -> Spent:
        """Do something, and see what it took."""
        peak = Path(f"/proc/{self.bench.pid}/clear_refs")
        peak.write_text("5")  # forget the peak so far
        since_s, results = time.monotonic(), []
        spent = self.bench.spend(lambda: results.append(function()))
        time.sleep(0.05)  # for a beat that is late
        stalls = [beat.working_s for beat in read_late(self.beats, since_s)]
        return Spent(
            spent.wall_s,
            spent.cpu_s,
            self._peak_bytes(),
            max(stalls, default=0.0),
            results[0],
        )

    def _peak_bytes(self) -> int:
        for line in Path(f"/proc/{self.bench.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
        return 0


@contextmanager
def watched(daemon: Daemon, *flags: str) -> Iterator[Watched]:
    """Start a daemon; it is stopped at the end."""
    beats = daemon.root / "beats"
    command = daemon.command(*flags)
    command[1:3] = ["-m", "bench.heartbeat", str(beats)]
    daemon.start(command=command)
    try:
        assert daemon.process is not None
        context = client_context(daemon.certificates.of("admin"))
        yield Watched(Bench(daemon.port, daemon.process.pid, context), beats)
    finally:
        daemon.stop()


def row(what: str, value: str, target: str, spent: Spent, note: str = "") -> Row:
    """A line, with the stalls beside it."""
    stall = f"stalls up to {spent.stall_s * 1e3:.0f} ms"
    note = f"{note}; {stall}" if note else stall
    return Row(what, value, target, spent.peak_bytes, note)


def least(runs: Iterable[Spent]) -> Spent:
    """What it took the time that it took least: others may use the machine, too."""
    runs = list(runs)
    return attrs.evolve(
        min(runs, key=lambda spent: spent.cpu_s),
        wall_s=min(spent.wall_s for spent in runs),
        peak_bytes=max(spent.peak_bytes for spent in runs),
        stall_s=max(spent.stall_s for spent in runs),
    )
