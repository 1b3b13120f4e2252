"""The documentation is about the program that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from generated_pages import PAGES

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_TARGET = re.compile(r"`make ([a-z-]+)")


def anchors(path: Path) -> set[str]:
    """The names by which headings of a page can be linked to."""
    text = _FENCE.sub("", path.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


@pytest.mark.parametrize("name", PAGES)
def test_generated(name: str) -> None:
    """Pages that are made from the program are those of this program."""
    page = (ROOT / "docs" / name).read_text()
    assert page == PAGES[name](), "make docs"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links(path: Path) -> None:
    """Links within the documentation lead somewhere; there are none to elsewhere."""
    dead = []
    for link in _LINK.findall(_FENCE.sub("", path.read_text())):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_targets() -> None:
    """What is to be made can be made."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for path in DOCUMENTS:
        named = set(_TARGET.findall(path.read_text()))
        assert named <= targets, path.name
