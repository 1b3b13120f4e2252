"""What is measured of the process, and the values of its flags."""

from __future__ import annotations

import datetime
import os
import resource
import sys
import threading
from collections.abc import Iterator, Mapping

from imageserver.flags import BOOL, DURATION, INT, SIZE, UINT, FlagSet
from imageserver.srpc.metric import BYTES, Metric


class ProcessMetrics:
    """See the module."""

    def __init__(
        self, started_s: float, flags: FlagSet | None, values: Mapping[str, str]
    ) -> None:
        """Measure this process.

        Args:
            started_s: when it began, in seconds since 1970.
            flags: its flags.
            values: their values, as the command line takes them.
        """
        self._started = datetime.datetime.fromtimestamp(started_s, datetime.UTC)
        self._flags = flags
        self._values = values

    def metrics(self) -> Iterator[Metric]:
        """Everything."""
        yield Metric("/proc/args", "|".join(sys.argv[1:]), "arguments")
        yield Metric("/proc/name", sys.argv[0], "the program")
        yield Metric("/proc/start-time", self._started, "when the process began")
        yield Metric("/proc/python/version", sys.version.split()[0], "of Python")
        threads = threading.active_count()
        yield Metric("/proc/python/num-threads", threads, "threads", is_signed=True)
        yield from _usage()
        yield from self._flag_metrics()

    def _flag_metrics(self) -> Iterator[Metric]:
        for flag in self._flags.flags if self._flags else ():
            text = self._values.get(flag.name)
            if text is None:
                continue
            value = flag.kind.parse(text)
            path = f"/proc/flags/{flag.name}"
            if flag.kind is DURATION:
                span = datetime.timedelta(microseconds=value // 1_000)
                yield Metric(path, span, flag.help)
            elif flag.kind in (BOOL, INT, UINT):
                yield Metric(path, value, flag.help, is_signed=flag.kind is INT)
            elif flag.kind is SIZE:
                yield Metric(path, value, flag.help, BYTES)
            else:
                yield Metric(path, text, flag.help)


def _usage() -> Iterator[Metric]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    user = datetime.timedelta(seconds=usage.ru_utime)
    system = datetime.timedelta(seconds=usage.ru_stime)
    yield Metric("/proc/cpu/user", user, "processor time in the program")
    yield Metric("/proc/cpu/sys", system, "processor time in the kernel")
    yield Metric("/proc/memory/total", resident_bytes(), "memory in use", BYTES)
    rows = (
        (
            "memory/max-resident-set-size",
            usage.ru_maxrss << 10,
            "the most so far",
            BYTES,
        ),
        ("memory/shared", usage.ru_ixrss, "shared memory", BYTES),
        ("memory/unshared-data", usage.ru_idrss, "data", BYTES),
        ("memory/unshared-stack", usage.ru_isrss, "stacks", BYTES),
        ("memory/soft-page-fault", usage.ru_minflt, "without reading", ""),
        ("memory/hard-page-fault", usage.ru_majflt, "with reading", ""),
        ("memory/swaps", usage.ru_nswap, "times swapped out", ""),
        ("io/input", usage.ru_inblock, "blocks read", ""),
        ("io/output", usage.ru_oublock, "blocks written", ""),
        ("io/num-open-file-descriptors", open_descriptors(), "open files", ""),
        ("ipc/sent", usage.ru_msgsnd, "messages sent", ""),
        ("ipc/received", usage.ru_msgrcv, "messages received", ""),
        ("signals/received", usage.ru_nsignals, "signals", ""),
        ("scheduler/voluntary-switches", usage.ru_nvcsw, "waits", ""),
        ("scheduler/involuntary-switches", usage.ru_nivcsw, "interruptions", ""),
    )
    for name, value, description, unit in rows:
        yield Metric(
            f"/proc/{name}", value, description, unit or "None", is_signed=True
        )


def resident_bytes() -> int:
    """How much memory the process has now; 0: nobody can tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def open_descriptors() -> int:
    """How many files and connections are open; 0: nobody can tell."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return 0


def cpu_seconds() -> float:
    """How much processor time the process has used so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
