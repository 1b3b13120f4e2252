"""Hashes in several threads."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from imageserver.trees.tree import PIECE_BYTES, Progress

_MAX_THREADS = 8
_PENDING_PER_THREAD = 2
_MAX_PENDING = 10  # batches; each job may have a file open, and 256 have to do
_BATCH_JOBS = 16
_BATCH_BYTES = 1 << 20


class _Abandoned(Exception):
    """Another job failed; the result of this one is of no interest."""


class HashPool:
    """Hashes files in several threads; a context manager.

    Jobs go to the threads in batches, since a trip there takes as long as hashing a
    small file. The first error, in the order in which the jobs were handed in, is
    raised in the thread that uses the pool. Leaving the pool abandons the jobs that are
    not done.
    """

    def __init__(self, progress: Progress) -> None:
        """Start with no jobs; ``progress`` is called in the thread of the user."""
        thread_count = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
        self._executor = ThreadPoolExecutor(thread_count, "hash")
        self._batch: list[Callable[[], int]] = []
        self._batch_bytes = 0
        self._pending: deque[Future[tuple[int, int]]] = deque()
        self._pending_limit = min(thread_count * _PENDING_PER_THREAD, _MAX_PENDING)
        self._progress = progress
        self._abandoned = threading.Event()
        self._file_count = 0
        self._byte_count = 0

    def submit(self, job: Callable[[], int], size: int) -> None:
        """Run ``job`` in a thread; it returns how many bytes it has hashed.

        Waits if many jobs are pending. Every job that was handed in is called, even
        after an error, so that it can close what it was given.

        Args:
            job: what to run.
            size: about how many bytes it will hash.
        """
        self._batch.append(job)
        self._batch_bytes += size
        if len(self._batch) >= _BATCH_JOBS or self._batch_bytes >= _BATCH_BYTES:
            self._hand_over()
            if len(self._pending) > self._pending_limit:
                self._accept_oldest()

    def digest(self, read: Callable[[int], bytes], size: int) -> tuple[bytes, int]:
        """Hash up to ``size`` bytes; to be called by jobs.

        Returns:
            The hash, and how many bytes there were.
        """
        hasher = hashlib.sha512()
        left = size
        while left and (piece := read(min(left, PIECE_BYTES))):
            if self._abandoned.is_set():
                raise _Abandoned
            hasher.update(piece)
            left -= len(piece)
        return hasher.digest(), size - left

    def finish(self) -> None:
        """Wait for all jobs."""
        self._hand_over()
        while self._pending:
            self._accept_oldest()

    def _hand_over(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        self._pending.append(self._executor.submit(_run_all, batch))

    def _accept_oldest(self) -> None:
        file_count, byte_count = self._pending.popleft().result()
        self._file_count += file_count
        self._byte_count += byte_count
        self._progress(self._file_count, self._byte_count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._abandoned.set()
        self._hand_over()
        self._executor.shutdown()


def _run_all(jobs: Sequence[Callable[[], int]]) -> tuple[int, int]:
    """Run all of them; how many there were, and what they have hashed."""
    byte_count = 0
    first: BaseException | None = None
    for job in jobs:
        try:
            byte_count += job()
        except BaseException as error:
            first = first or error
    if first is not None:
        raise first
    return len(jobs), byte_count
