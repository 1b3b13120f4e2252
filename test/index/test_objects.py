"""What an index promises about objects."""

from __future__ import annotations

from collections import Counter

import pytest

from imageserver.index.base import Collectable, ObjectTotals
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
    assert index.object_totals() == ObjectTotals(1, 2, 0, 0, missing_objects=1)
    index.add_objects({A: 1}, 6)
    assert index.object_totals() == ObjectTotals(2, 3, 1, 1)


def test_missing_is_no_longer_wanted(index, record, counts) -> None:
    """When the last reference to a missing object goes, nothing is left of it."""
    index.add_image(record("image"), Counter({A: 2}))
    assert counts() == {A: 2}
    index.remove_image("image", Counter({A: 2}), 7)
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


def sizes_of(found):
    """Objects as other methods give them."""
    return {each.hash_: each.size for each in found}


def test_collectable(index, record) -> None:
    """Objects can be collected if no image uses them and their leases are over."""
    index.add_objects({A: 1}, 5)
    index.add_objects({B: 2}, 5, leased_until_ns=10)
    index.add_objects({C: 4}, 5)
    index.add_image(record("image"), Counter({C: 1}))
    for now_ns, found in ((9, {A: 1}), (10, {A: 1, B: 2})):
        assert sizes_of(index.collectable_objects(now_ns, 10)) == found
        assert index.collectable_after(bytes(64), now_ns, 10) == found
        assert index.collectable_totals(now_ns) == (len(found), sum(found.values()))
    index.remove_image("image", Counter({C: 1}), 9)
    assert index.collectable_totals(9) == (2, 5)


def test_oldest_first(index, record) -> None:
    """Objects come in the order in which they were used last, or lost their images."""
    index.add_image(record("image"), Counter({A: 2}))
    index.add_image(record("other"), Counter({A: 1}))
    index.add_objects({A: 1}, 1)
    index.add_objects({B: 2}, 2)
    index.add_objects({C: 3}, 3)
    index.remove_image("image", Counter({A: 2}), 4)
    assert list(sizes_of(index.collectable_objects(9, 10))) == [B, C]
    index.remove_image("other", Counter({A: 1}), 4)
    assert list(sizes_of(index.collectable_objects(9, 10))) == [B, C, A]
    index.add_objects({B: 2}, 5)
    found = index.collectable_objects(9, 10)
    assert found == [Collectable(C, 3, 3), Collectable(A, 1, 4), Collectable(B, 2, 5)]
    assert index.collectable_objects(9, 2) == found[:2]
    assert index.collectable_objects(9, 9, found[0]) == found[1:]


def test_equally_old(index) -> None:
    """Objects of the same age come each once, however few at a time."""
    objects = {hash_of(b"%d" % n): 1 for n in range(20)}
    index.add_objects(objects, 5)
    seen = index.collectable_objects(9, 7)
    while some := index.collectable_objects(9, 7, seen[-1]):
        seen += some
    assert [found.hash_ for found in seen] == sorted(objects)


def test_pages(index) -> None:
    """Objects can be looked at some at a time, in the order of their hashes."""
    objects = {bytes([n]) * 64: n + 1 for n in range(5)}
    index.add_objects(objects, 5)
    index.add_objects({b"\x02" * 64: 3}, 5, leased_until_ns=100)
    hashes = list(objects)
    assert list(index.objects_after(b"", 2)) == hashes[:2]
    assert list(index.objects_after(hashes[1], 9)) == hashes[2:]
    assert index.objects_after(hashes[-1], 9) == {}
    assert list(index.collectable_after(hashes[0], 50, 2)) == [hashes[1], hashes[3]]


def test_leases(index) -> None:
    """A lease is never shortened; it is renewed by the beginning of the hash."""
    index.add_objects({A: 1, B: 1}, 5, leased_until_ns=20)
    index.add_objects({A: 1}, 6, leased_until_ns=10)
    assert index.collectable_objects(19, 9) == []
    index.renew_leases([A[:8]], 30)
    index.renew_leases([A[:8], C[:8]], 25)
    assert sizes_of(index.collectable_objects(29, 9)) == {B: 1}
    assert sizes_of(index.collectable_objects(30, 9)) == {A: 1, B: 1}


def test_leases_outlive_images(index, record) -> None:
    """An object that had an image is kept for whoever uploaded it, too."""
    index.add_objects({A: 1}, 5, leased_until_ns=20)
    index.add_image(record("image"), Counter({A: 1}))
    index.remove_image("image", Counter({A: 1}), 6)
    assert index.collectable_objects(19, 9) == []


def test_forget_collectable(index, record) -> None:
    """Only objects that nobody needs at that moment are forgotten."""
    index.add_objects({A: 1, B: 1, C: 1}, 5)
    chosen = sizes_of(index.collectable_objects(9, 9))
    index.add_image(record("image"), Counter({A: 1}))
    index.renew_leases([B], 20)
    assert index.forget_collectable(chosen, 9) == [C]
    assert index.object_sizes([A, B, C]) == {A: 1, B: 1}
    assert index.forget_collectable([C, A], 9) == []


def test_missing(index, record) -> None:
    """Objects that images use but that are not there are known."""
    index.add_image(record("image"), Counter({A: 2, B: 1}))
    index.add_objects({A: 1, C: 1}, 5)
    assert index.missing_objects(9) == [B]
    assert index.object_totals().missing_objects == 1
    assert dict(index.reference_counts()) == {A: 2, B: 1}
    index.forget_objects([A, C])
    assert sorted(index.missing_objects(9)) == sorted([A, B])
    assert len(index.missing_objects(1)) == 1


def test_notes(index, open_index) -> None:
    """What was noted is known at the next start."""
    assert index.note("x") == ""
    index.set_note("x", "first")
    index.set_note("x", "second")
    assert open_index().note("x") == "second"
