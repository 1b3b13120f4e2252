"""Tags, and the order of names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageserver.model.tags import tags_match
from imageserver.model.version_sort import version_key


@pytest.mark.parametrize(
    ("tags", "wanted", "matches"),
    [
        (None, None, True),
        (None, {}, True),
        ({}, {"k": ("v",)}, False),
        (None, {"k": ("v",)}, False),
        ({"k": "v"}, None, True),
        ({"k": "v"}, {"k": ("v",)}, True),
        ({"k": "v"}, {"k": ("u", "v")}, True),
        ({"k": "v"}, {"k": ("u",)}, False),
        ({"k": "v"}, {"k": ()}, False),
        ({"k": "v"}, {"k": ("v",), "l": ("w",)}, False),
        ({"k": "v", "l": "w"}, {"k": ("v",), "l": ("w",)}, True),
        ({"k": ""}, {"k": ("",)}, True),
        ({}, {"k": ("",)}, False),
    ],
)
def test_tags(tags, wanted, matches) -> None:
    """An image matches if it has, for every key, one of the values."""
    assert tags_match(tags, wanted) is matches


@pytest.mark.parametrize(
    "names",
    [
        ["a.1", "a.2", "a.9", "a.10", "a.100"],
        ["a", "a.", "a.1", "b"],
        ["1", "2", "10", "10a", "a"],
        ["a1b2", "a1b10", "a2b1", "a10b1"],
        ["v1", "v1.0", "v1.0.1", "v1.1"],
        ["A", "B", "a", "b", "ä"],
        ["2024-01-09", "2024-01-10", "2024-02-01"],
        ["a-", "a0", "a:", "aa"],
        ["9" * 30, "1" + "0" * 30],
    ],
)
def test_order(names) -> None:
    """Runs of digits compare as numbers, everything else bytewise."""
    assert sorted(reversed(names), key=version_key) == names


def test_leading_zeros() -> None:
    """Numbers with leading zeros are equal to those without; then it goes on."""
    assert version_key("a01b") < version_key("a1c")
    assert version_key("a1b") < version_key("a01c")


def test_strange_names() -> None:
    """Every name has a key: other digits are no digits, bytes need not be UTF-8."""
    for name in ("\udcff", "٣", "²", ""):
        version_key(name)


@given(st.lists(st.text("ab019.-", max_size=8)))
def test_sorting_is_by_runs(names) -> None:
    """The order is the same whichever of two names comes first."""
    for left in names:
        for right in names:
            assert (version_key(left) < version_key(right)) == (
                compare(left, right) < 0
            )


def compare(left: str, right: str) -> int:
    """The rule as it is written down."""
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i].isdigit() and right[j].isdigit():
            first, i = run(left, i)
            second, j = run(right, j)
            if first != second:
                return first - second
        elif left[i] != right[j]:
            return ord(left[i]) - ord(right[j])
        else:
            i, j = i + 1, j + 1
    return (len(left) - i) - (len(right) - j)


def run(text: str, start: int) -> tuple[int, int]:
    """The number at a position, and where it ends."""
    end = start
    while end < len(text) and text[end].isdigit():
        end += 1
    return int(text[start:end]), end
