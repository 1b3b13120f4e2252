"""Hashing in several threads."""

from __future__ import annotations

import io
import os
import threading
from functools import partial

import pytest

from imageserver.model.hash import hash_of
from imageserver.trees.hash_pool import HashPool


def test_all_jobs() -> None:
    """Each job runs once, and progress ends at everything."""
    ran: list[int] = []
    lock = threading.Lock()
    told: list[tuple[int, int]] = []

    def job(number: int) -> int:
        with lock:
            ran.append(number)
        return 3

    with HashPool(lambda *progress: told.append(progress)) as pool:
        for number in range(1_000):
            pool.submit(partial(job, number), 3)
        pool.finish()
    assert sorted(ran) == list(range(1_000))
    assert told[-1] == (1_000, 3_000)
    assert told == sorted(told)


@pytest.mark.parametrize("failing", [0, 5, 15, 16, 99])
def test_error(failing: int) -> None:
    """The first error is told; jobs that were handed in are called all the same."""
    ran: list[int] = []
    submitted: list[int] = []

    def job(number: int) -> int:
        ran.append(number)
        if number in (failing, 99):
            raise ValueError(str(number))
        return 0

    with (
        pytest.raises(ValueError, match=f"^{failing}$"),
        HashPool(lambda *_: None) as pool,
    ):
        for number in range(100):
            submitted.append(number)
            pool.submit(partial(job, number), 1 << 20 if number % 10 == 0 else 1)
        pool.finish()
    assert sorted(ran) == submitted


@pytest.mark.parametrize("processors", [1, 2, 8, 64])
def test_pending(processors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few jobs are pending that each can have a file open, on any machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    goes_on = threading.Event()
    submitted: list[int] = []
    pending: list[int] = []

    class Watched(HashPool):
        def _accept_oldest(self) -> None:
            pending.append(len(submitted))
            goes_on.set()
            super()._accept_oldest()

    def job() -> int:
        goes_on.wait(10)
        return 0

    with Watched(lambda *_: None) as pool:
        for number in range(400):
            submitted.append(number)
            pool.submit(job, 1)
        pool.finish()
    assert 0 < pending[0] < 200


def test_leaving() -> None:
    """Jobs that were not waited for are called before the pool is gone."""
    ran: list[int] = []

    def job(number: int) -> int:
        ran.append(number)
        return 0

    with HashPool(lambda *_: None) as pool:
        for number in range(3):
            pool.submit(partial(job, number), 1)
    assert ran == [0, 1, 2]


def test_digest() -> None:
    """No more than what was wanted is hashed; what is missing shows."""
    with HashPool(lambda *_: None) as pool:
        assert pool.digest(io.BytesIO(b"content").read, 4) == (hash_of(b"cont"), 4)
        assert pool.digest(io.BytesIO(b"short").read, 9) == (hash_of(b"short"), 5)
