"""What long messages take together."""

from __future__ import annotations

import pytest

from imageserver.srpc.message_memory import MessageMemory, Share


@pytest.fixture
def evicted() -> list[str]:
    """Who had to go."""
    return []


def begin(memory: MessageMemory, name: str, evicted: list[str]) -> Share:
    """A message of somebody."""
    return memory.begin(lambda: evicted.append(name))


def test_counting(evicted) -> None:
    """What messages take is counted until they end."""
    memory = MessageMemory(100)
    first, second = (begin(memory, name, evicted) for name in "ab")
    first.grow(60)
    second.grow(40)
    assert memory.used == 100
    first.end()
    first.end()
    assert memory.used == 40
    second.end()
    assert (memory.used, evicted) == (0, [])


def test_oldest_goes(evicted) -> None:
    """Where there is too much, those that began first go, and no more than needed."""
    memory = MessageMemory(100)
    shares = [begin(memory, name, evicted) for name in "abcd"]
    waiting = [begin(memory, "waiting", evicted)]
    for share in shares:
        share.grow(25)
    shares[3].grow(30)
    assert evicted == ["a", "b"]  # of those that wait, nothing has come
    assert not waiting[0].is_lost
    assert [share.is_lost for share in shares] == [True, True, False, False]
    assert memory.used == 80
    shares[0].grow(1_000)  # what it still gets does not count
    assert memory.used == 80


def test_one_alone(evicted) -> None:
    """A message that takes too much all by itself goes."""
    memory = MessageMemory(100)
    share = begin(memory, "a", evicted)
    share.grow(101)
    assert (evicted, memory.used, share.is_lost) == (["a"], 0, True)
