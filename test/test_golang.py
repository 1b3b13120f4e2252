"""The Go programs that tests use."""

from __future__ import annotations

from golang.toolchain import check


def test_programs(go_cache) -> None:
    """They are as Go programs should be."""
    check(go_cache)
