"""Listings on terminals."""

from __future__ import annotations

import pytest

from imageserver.tool.show import paint_listing

HASH = "48abd82c" * 16
LINES = [
    (
        "drwxr-xr-x   1     0     0                                     /a b /c",
        "drwxr-xr-x   1     0     0                                     "
        "\033[1;34m/a b /c\033[0m",
    ),
    ("drwxr-xr-x   1     0     0 ", "drwxr-xr-x   1     0     0 "),
    (
        f"-rwsr-xr-x   2     0     0       3000 22 Nov 2026 23:54:05 UTC /x {HASH}",
        "\033[31m-rwsr-xr-x\033[0m   2     0     0       3000 22 Nov 2026 23:54:05 UTC"
        f" /x {HASH}",
    ),
    ("-rwxr-sr-x /x", "\033[31m-rwxr-sr-x\033[0m /x"),
    ("-rw-r-Sr-- /x", "-rw-r-Sr-- /x"),
    ("-rw-r--r-- /x", "-rw-r--r-- /x"),
    ("lrwxrwxrwx /x -> s", "lrwxrwxrwx /x -> s"),
]


@pytest.mark.parametrize(("line", "painted"), LINES)
def test_paint_listing(line: str, painted: str) -> None:
    """Directories stand out, and programs that run with the rights of others."""
    assert paint_listing(line) == painted
