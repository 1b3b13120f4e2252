"""The one rule for names."""

from __future__ import annotations

import pytest

from imageserver.errors import InvalidName
from imageserver.model.names import (
    check_directory_name,
    check_image_name,
    check_stored_name,
    directory_of,
)

GOOD = [
    "x",
    "web/prod/2024-01-01:12:34:56",
    "base.Debian-12/20240101",
    "a b",
    "ä/日本",
    "~x",
    "x~y/z",
    "a.",
    "a..b",
    "x" * 254,
    "/".join(["x" * 99] * 30),
    "/".join(["x" * 99] * 29 + ["x" * 100]),  # 3,000 bytes
    "no\xa0break",
]
BAD = {
    "": "empty component",
    "/x": "empty component",
    "x/": "empty component",
    "x//y": "empty component",
    "..": "starts with a dot",
    "../x": "starts with a dot",
    "x/./y": "starts with a dot",
    "x/../y": "starts with a dot",
    ".hidden": "starts with a dot",
    "x/.metadata": "starts with a dot",
    "x~": "ends in ~",
    "x~/y": "ends in ~",
    "~": "ends in ~",
    "x\ny": "control character",
    "x\0": "control character",
    "\x1b[2J": "control character",
    "x\x7f": "control character",
    "x\x85": "control character",
    "x\udcff": "not UTF-8",
    "\ud800": "not UTF-8",
    "x" * 255: "component too long",
    "ä" * 128: "component too long",
    "/".join(["x" * 99] * 31): "too long",
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name) -> None:
    """Names that survive a restart, and are their own canonical form, are accepted."""
    check_image_name(name)
    check_directory_name(name)


@pytest.mark.parametrize(("name", "reason"), BAD.items())
def test_bad(name, reason) -> None:
    """All others are refused, and the text says why."""
    for check in (check_image_name, check_directory_name):
        with pytest.raises(InvalidName, match=f"{reason}$") as caught:
            check(name)
        told = caught.value.name
        assert told == name or (told == name[:100] + "..." and reason == "too long")


def test_stored() -> None:
    """Whatever is text can be asked for, and nothing else."""
    for name in (*GOOD, "../x", ".hidden", "x\ny", "x" * 5_000):
        check_stored_name(name)
    with pytest.raises(InvalidName, match=r"not UTF-8$") as caught:
        check_stored_name("x\udcff")
    assert caught.value.name == "x\udcff"


def test_root() -> None:
    """The root is a directory, but no image."""
    check_directory_name(".")
    with pytest.raises(InvalidName):
        check_image_name(".")


def test_text_is_bounded() -> None:
    """The text of a refusal is not as long as the name, and can be printed."""
    with pytest.raises(InvalidName) as caught:
        check_image_name("x" * 1_000_000)
    assert len(str(caught.value)) < 300
    with pytest.raises(InvalidName) as caught:
        check_image_name("x\n\x1b")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "directory"), [("x", "."), ("a/x", "a"), ("a/b/x", "a/b"), (".", ".")]
)
def test_directory_of(name, directory) -> None:
    """Everything is in the directory before its last slash, or in the root."""
    assert directory_of(name) == directory
