"""What an index promises about objects."""

from __future__ import annotations

from collections import Counter

import pytest

from imageserver.index.base import ObjectTotals
from imageserver.model.hash import hash_of

A, B, C = (hash_of(name) for name in (b"a", b"b", b"c"))


def test_unknown(index) -> None:
    """A new index knows of nothing."""
    assert index.object_sizes([A, B]) == {}
    assert index.object_sizes([]) == {}
    assert index.object_totals() == ObjectTotals()


def test_add(index) -> None:
    """What was added is known with its size; what was not is left out."""
    index.add_objects({A: 1, B: 1 << 44}, 5)
    assert index.object_sizes([C, B, A, A]) == {A: 1, B: 1 << 44}
    assert index.object_totals() == ObjectTotals(2, 1 + (1 << 44), 0, 0)


def test_add_again(index) -> None:
    """An object that is added again has the new size, and counts once."""
    index.add_objects({A: 1}, 5)
    index.add_objects({A: 2}, 6)
    assert index.object_sizes([A]) == {A: 2}
    assert index.object_totals() == ObjectTotals(1, 2, 0, 0)


def test_add_nothing(index) -> None:
    """Adding nothing is permitted."""
    index.add_objects({}, 5)
    assert index.object_totals() == ObjectTotals()


def test_many_sizes(index) -> None:
    """Tens of thousands of hashes can be asked for at a time."""
    sizes = {hash_of(str(n).encode()): n + 1 for n in range(25_000)}
    index.add_objects(sizes, 5)
    assert index.object_sizes([*sizes, A, B]) == sizes
    assert index.object_totals().objects == 25_000


def test_forget(index) -> None:
    """Forgotten objects are unknown; forgetting unknown ones does nothing."""
    index.add_objects({A: 1, B: 2}, 5)
    index.forget_objects([A, C])
    assert index.object_sizes([A, B]) == {B: 2}
    assert index.object_totals() == ObjectTotals(1, 2, 0, 0)


def test_forget_referenced(index, record) -> None:
    """A forgotten object keeps its references: it is missing, and may come back."""
    index.add_objects({A: 1, B: 2}, 5)
    index.add_image(record("image"), Counter({A: 2}))
    index.forget_objects([A])
    assert index.object_sizes([A]) == {}
    assert index.object_totals() == ObjectTotals(1, 2, 0, 0)
    index.add_objects({A: 1}, 6)
    assert index.object_totals() == ObjectTotals(2, 3, 1, 1)


def test_missing_is_no_longer_wanted(index, record, counts) -> None:
    """When the last reference to a missing object goes, nothing is left of it."""
    index.add_image(record("image"), Counter({A: 2}))
    assert counts() == {A: 2}
    index.remove_image("image", Counter({A: 2}))
    assert counts() == {}


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        (b"\x00" * 64, b"\xff" * 64, {"low", "middle", "high"}),
        (b"\x20" + bytes(63), b"\x20" + b"\xff" * 63, {"middle"}),
        (b"\x20" + bytes(63), b"\x20" + bytes(63), {"middle"}),
        (b"\x30" + bytes(63), b"\x40" + bytes(63), set()),
    ],
)
def test_objects_between(index, first, last, found) -> None:
    """A range of hashes includes both its ends, and no missing objects."""
    objects = {
        "low": bytes(64),
        "middle": b"\x20" + bytes(63),
        "high": b"\xff" * 64,
    }
    index.add_objects({hash_: 7 for hash_ in objects.values()}, 5)
    assert index.objects_between(first, last) == {objects[name]: 7 for name in found}
