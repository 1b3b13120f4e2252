"""What somebody may have meant who has mistyped a name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_MOST = 3
_LIKENESS = 0.6


def suggest(word: str, names: Sequence[str]) -> str:
    """A hint to append to an error; empty if nothing is like ``word``."""
    found = difflib.get_close_matches(word, names, _MOST, _LIKENESS)
    begun = [name for name in names if word and name.startswith(word)]
    names = list(dict.fromkeys([*found, *begun]))[:_MOST]
    return f" (did you mean {' or '.join(names)}?)" if names else ""
