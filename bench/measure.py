"""Runs something in a process of its own, and tells what it took."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table

_MIB = 1 << 20


@attrs.frozen
class Measured:
    """What something took.

    Attributes:
        wall_s: the least time of several runs.
        cpu_s: the processor time of that run.
        peak_bytes: the most memory that it took, beyond interpreter and modules.
        result: what it returned the last time.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    result: Any


def measure(function: Callable[..., Any], *arguments: Any, runs: int = 5) -> Measured:
    """Call a function of a module several times, in a fresh process.

    Args:
        function: what to call; what it returns must be small.
        arguments: for it; paths rather than data.
        runs: how often.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, function, arguments, runs))
    process.start()
    theirs.close()
    measured: Measured = ours.recv()
    process.join()
    return measured


def _run(
    pipe: Any, function: Callable[..., Any], arguments: tuple[Any, ...], runs: int
) -> None:
    modules_bytes = _status_bytes("VmRSS")
    best = (float("inf"), 0.0)
    result = None
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*arguments)
        took = time.perf_counter() - wall, time.process_time() - cpu
        best = min(best, took)
    peak_bytes = _status_bytes("VmHWM") - modules_bytes
    pipe.send(Measured(*best, peak_bytes, result))


def _status_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    return 0


@attrs.frozen
class Row:
    """A line of a report.

    Attributes:
        what: what was measured.
        value: the figure, with its unit.
        target: what it should be.
        peak_bytes: the memory it took, if that counts.
        note: for example what others take.
    """

    what: str
    value: str
    target: str = ""
    peak_bytes: int = 0
    note: str = ""


def report(title: str, rows: Iterable[Row]) -> None:
    """Print rows as a table, as they come."""
    table = Table("", "measured", "target", "peak memory", "beside it", title=title)
    for row in rows:
        peak = f"{row.peak_bytes / _MIB:.0f} MiB" if row.peak_bytes else ""
        table.add_row(row.what, row.value, row.target, peak, row.note)
    Console(width=118).print(table)
