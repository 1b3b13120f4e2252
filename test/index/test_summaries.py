"""Images are searched, sorted and counted in the index."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imageserver.index.sqlite_summaries import sort_key
from imageserver.index.summary import ORDERS, DirectoryTotals, ImageQuery
from imageserver.model.hash import hash_of
from imageserver.model.version_sort import version_key

_NAMES = st.text(st.sampled_from("a0129/.-ä\0~"), max_size=8)


@given(st.lists(_NAMES))
def test_sort_key(names: list[str]) -> None:
    """The keys of the index sort as names do everywhere else."""
    assert sorted(names, key=lambda it: (sort_key(it), it)) == sorted(
        names, key=lambda it: (version_key(it), it)
    )


def test_orders(index, record) -> None:
    """Images are sorted by anything, and what says nothing comes last."""
    for number, created in ((1, 30), (2, None), (10, 10)):
        index.add_image(record(f"x/{number}", created_on_ns=created), {})

    def names(order: str, descending: bool = False) -> list[str]:
        query = ImageQuery(order=order, descending=descending)
        return [it.name for it in index.search_images(query)]

    assert names("name") == ["x/1", "x/2", "x/10"]
    assert names("created") == ["x/10", "x/1", "x/2"]
    assert names("created", True) == ["x/1", "x/10", "x/2"]
    for order in ORDERS:
        assert len(names(order)) == 3


def test_packages(index, record) -> None:
    """Images are found by their packages, whose names are kept once and then go."""
    index.add_image(record("a"), {}, ["ssl", "ssh", "ssh"])
    index.add_image(record("b"), {}, ["ssh", "ssl"])
    index.add_image(record("c"), {}, ["s_l"])
    index.add_image(record("d"), {})

    def names(package: str) -> list[str]:
        return [it.name for it in index.search_images(ImageQuery(package=package))]

    assert names("ssl") == ["a", "b"]
    assert names("s_l") == ["c"]
    assert names("ss") == names("%") == names("nothing") == []
    count = "SELECT count(*) FROM package_sets"
    assert list(index._file.query(tuple, count)) == [(3,)]
    for name in "abcd":
        index.remove_image(name, {}, 0)
    assert list(index._file.query(tuple, count)) == [(0,)]


def test_pages(index, record) -> None:
    """A list is taken a page at a time, and counted as a whole."""
    for number in range(25):
        index.add_image(record(f"x/{number}"), {})
    query = ImageQuery(directory="x", offset=20, limit=10)
    assert [it.name for it in index.search_images(query)] == [
        f"x/{number}" for number in range(20, 25)
    ]
    assert index.count_images(query) == 25
    assert len(index.search_images(ImageQuery(limit=None))) == 25


def test_changed_expiration(index, record) -> None:
    """An image that expires at another time is listed so."""
    index.add_image(record("x", expires_at_ns=5), {}, ["p"])
    index.replace_image(record("x", expires_at_ns=7))
    (found,) = index.search_images(ImageQuery(package="p"))
    assert found.expires_at_ns == 7


def test_totals(index, record) -> None:
    """Directories, ages and references are summed up."""
    a, b = hash_of(b"a"), hash_of(b"b")
    index.add_image(record("x/1", created_on_ns=5, data_bytes=3), {a: 2})
    index.add_image(record("x/2", created_on_ns=9, data_bytes=4), {a: 1, b: 1})
    index.add_image(record("y", created_on_ns=None, data_bytes=1 << 70), {})
    totals = index.directory_totals()
    assert totals["x"] == DirectoryTotals(2, 7)
    assert totals["."].images == 1
    assert index.images_since([0, 6, 10]) == [2, 1, 0]
    assert index.reference_counts_of([a, b, hash_of(b"c")]) == {a: 3, b: 1}


def test_odd_texts(index, record) -> None:
    """Texts that are not UTF-8, and words that mean something in SQL, are texts."""
    index.add_image(
        record("x", created_by="a\udcff", tags={"k'": '%"_'}), {}, ["\udce9"]
    )
    for query, count in (
        (ImageQuery(words=("%",)), 1),
        (ImageQuery(words=("_",)), 1),
        (ImageQuery(words=("'; DROP TABLE images",)), 0),
        (ImageQuery(tags=(("k'", '%"_'),)), 1),
        (ImageQuery(tags=(("k'", "%"),)), 0),
        (ImageQuery(created_by="\udcff"), 0),
        (ImageQuery(directory="%"), 0),
    ):
        assert index.count_images(query) == count, query


def test_forgotten(index, record) -> None:
    """With the images their summaries go."""
    index.add_image(record("x"), {}, ["p"])
    index.forget_images()
    assert index.search_images(ImageQuery()) == []
    index.add_image(record("x"), {}, ["p"])
    assert index.count_images(ImageQuery()) == 1
