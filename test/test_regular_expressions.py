"""Regular expressions that go wrong in some releases of Python."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "imageserver"
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[^{}]*\})\+")


def test_no_group_is_possessive() -> None:
    """Until Python 3.11.4 possessive groups match something else than they should."""
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in path.read_text().splitlines()
        if POSSESSIVE_GROUP.search(line)
    ]
    assert found == []
