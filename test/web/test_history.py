"""The history of what is stored, and samples of what goes on."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from imageserver.testing import InlineWorker
from imageserver.web.charts import area_points, changes, spark_points
from imageserver.web.history import HOUR_S, SLOTS, History, Stored
from imageserver.web.sampling import Sample, Sampler
from imageserver.web.status_page import growth_chart

_START_S = 1_800_000_000


def stored(time_s: float, images: int = 1) -> Stored:
    """What is stored at a time."""
    return Stored(int(time_s), images, 2, 300, 200, 1000, 5000)


@pytest.fixture
def clock() -> Clock:
    """The time."""
    clock = Clock()
    clock.advance(_START_S)
    return clock


@pytest.fixture
def history(tmp_path: Path, clock: Clock) -> History:
    """A history without anything in it."""
    return History(tmp_path / "history", clock.seconds)


def test_month(history: History, clock: Clock, tmp_path: Path) -> None:
    """The last 30 days are kept, an hour each; older ones make room."""
    assert history.read() == []
    for hour in range(SLOTS + 50):
        assert history.is_due()
        history.add(stored(clock.seconds(), hour))
        assert not history.is_due()
        clock.advance(HOUR_S)
    found = history.read()
    assert len(found) == SLOTS - 1
    assert [it.images for it in found][-1] == SLOTS + 49
    assert found == sorted(found, key=lambda it: it.time_s)
    assert (tmp_path / "history").stat().st_size == SLOTS * 64


def test_long_pause(history: History, clock: Clock) -> None:
    """What is older than 30 days is not told, though nothing has replaced it."""
    history.add(stored(clock.seconds()))
    clock.advance(31 * 86_400)
    assert history.read() == []


@pytest.mark.parametrize("damage", [b"", b"x" * 100, b"\0" * 4096, b"\xff" * 50_000])
def test_damage(history: History, clock: Clock, tmp_path: Path, damage: bytes) -> None:
    """A damaged file is an empty one; what comes then is kept."""
    (tmp_path / "history").write_bytes(damage)
    assert history.read() == []
    history.add(stored(clock.seconds()))
    assert len(history.read()) == 1


def test_wrong_clock(history: History, clock: Clock) -> None:
    """What is in the future is not told."""
    history.add(stored(clock.seconds() + 86_400))
    assert history.read() == []


def make_sampler(clock: Clock, history: History, samples: list[Sample]) -> Sampler:
    """A sampler that is told what goes on."""
    worker = InlineWorker()
    return Sampler(
        clock,
        lambda: attrs.evolve(samples[-1], time_s=clock.seconds()),
        lambda: stored(clock.seconds()),
        history,
        worker,
    )


def test_sampling(history: History, clock: Clock) -> None:
    """Rates are those of the last minute; the history gets one entry an hour."""
    samples = [Sample(0, 0, 0, 0, 0, 0, 0, 0.0)]
    sampler = make_sampler(clock, history, samples)
    sampler.startService()
    assert sampler.rates().calls_per_minute == 0
    for number in range(1, 13):
        samples.append(
            Sample(0, 10 * number, 5000 * number, 0, number, 1, 2, 0.1 * number)
        )
        clock.advance(10)
    rates = sampler.rates()
    assert rates.calls_per_minute == pytest.approx(60)
    assert rates.sent_per_s == pytest.approx(500)
    assert rates.cpu_percent == pytest.approx(1)
    assert len(history.read()) == 1
    clock.advance(HOUR_S)
    assert len(history.read()) == 2
    for _ in range(400):
        clock.advance(10)
    assert len(sampler.samples) == 361
    sampler.stopService()
    assert not clock.calls


def test_late_reactor(history: History, clock: Clock) -> None:
    """A reactor that was kept busy shows in the samples."""
    sampler = make_sampler(clock, history, [Sample(0, 0, 0, 0, 0, 0, 0, 0.0)])
    sampler.startService()
    clock.advance(10)
    clock.advance(12.5)
    clock.advance(10)
    assert sampler.rates().late_ms == pytest.approx(2500)
    sampler.stopService()


def test_failing_history(clock: Clock, tmp_path: Path) -> None:
    """Where the history cannot be written sampling goes on."""
    history = History(tmp_path / "no" / "history", clock.seconds)
    sampler = make_sampler(clock, history, [Sample(0, 0, 0, 0, 0, 0, 0, 0.0)])
    sampler.startService()
    with capturedLogs() as events:
        clock.advance(10)
        clock.advance(10)
    assert len(sampler.samples) == 2
    assert len(events) == 2
    for event in events:
        assert isinstance(event["log_failure"].value, OSError)
    sampler.stopService()


def test_charts() -> None:
    """Charts are within their bounds, and nothing is drawn of what does not move."""
    assert spark_points([]) == spark_points([1]) == spark_points([3, 3, 3]) == ""
    points = [
        tuple(map(float, it.split(","))) for it in spark_points([0, 5, 10]).split()
    ]
    assert points == [(0, 23), (60, 12), (120, 1)]
    assert len(spark_points(range(361)).split()) == 120
    assert changes([1, 4, 2]) == [3, 0]
    assert area_points([0], [1], 0, 1, 1) == area_points([0, 1], [0, 0], 0, 1, 0) == ""


def test_growth() -> None:
    """Growth is shown when there are two hours at least."""
    assert growth_chart([stored(0)], 10) is None
    found = growth_chart([stored(0, 1), stored(HOUR_S, 5)], 2 * HOUR_S)
    assert found is not None
    assert (found["grown_images"], found["since_s"], found["top"]) == (4, 0, 300)
    month = [stored(n * HOUR_S, n) for n in range(SLOTS)]
    found = growth_chart(month, SLOTS * HOUR_S)
    assert found is not None
    assert found["since_s"] == 0
