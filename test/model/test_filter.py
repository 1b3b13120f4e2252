"""Filters: the semantics that images were built with."""

from __future__ import annotations

import pytest

from imageserver.errors import InvalidImage
from imageserver.model.filter import Filter, Matcher, parse_filter

TABLE = [
    # a plain beginning
    ("/run", "/run", True),
    ("/run", "/runfile", True),
    ("/run", "/run/x", True),
    ("/run", "/var/run", False),
    ("/etc/a[.]b", "/etc/a.bc", True),
    ("/etc/a[.]b", "/etc/axb", False),
    # a plain beginning, and the rest said explicitly
    ("/run/.*", "/run/", True),
    ("/run/.*", "/run/x/y", True),
    ("/run/.*", "/run", False),
    ("/run/.*", "/run/new\nline", True),
    # exact
    ("/etc/mtab$", "/etc/mtab", True),
    ("/etc/mtab$", "/etc/mtab2", False),
    ("/etc/mtab$", "/etc/mtab/x", False),
    ("/etc/mtab$", "/etc/mtab\n", False),
    # a directory and what is below it
    ("/var/log(|/.*)$", "/var/log", True),
    ("/var/log(|/.*)$", "/var/log/", True),
    ("/var/log(|/.*)$", "/var/log/x/y", True),
    ("/var/log(|/.*)$", "/var/logs", False),
    ("/var/log(|/.*)$", "/x/var/log", False),
    # somewhere
    ("/.*cache.*", "/x/cache/y", True),
    ("/.*cache.*", "/cache", True),
    ("/.*cache.*", "/x/ache", False),
    (".*/cache.*", "/cache", True),
    (".*/cache.*", "/x/cached", True),
    (".*/cache.*", "/xcache", False),
    # a plain beginning, then an expression
    ("/usr/.*[.]pyc$", "/usr/x/y.pyc", True),
    ("/usr/.*[.]pyc$", "/usr/y.pyx", False),
    ("/usr/.*[.]pyc$", "/opt/y.pyc", False),
    ("/usr/.*x|/opt", "/usr/y/opt", True),
    # anything else
    ("/(a|b)/x", "/b/xy", True),
    ("/(a|b)/x", "/c/x", False),
    ("/x[0-9]+", "/x12/y", True),
    ("/a|/b", "/x/b", True),
    ("(?i)/ABC", "/abc", True),
    ("/[^]x]", "/y", True),
    ("/[^]x]", "/x", False),
    ("/ä.$", "/äö", True),
    # lines are not trimmed
    (" /run", "/run", False),
]
DEVIATIONS = [
    # What the fast paths of the format do otherwise than the plain expression.
    ("/.*/cache.*", "/cache", True),
    ("/.*cache.*", "/new\nline/cache", True),
    (".*/cache.*", "/new\nline/cache", True),
    ("/var/log(|/.*)$", "/var/log/new\nline", True),
    ("/usr/.*x|/opt", "/opt", False),
]


@pytest.mark.parametrize(("line", "path", "matches"), TABLE)
def test_table(line, path, matches) -> None:
    """A line matches from the start of a path, not to its end."""
    assert Matcher([line]).matches(path.encode()) is matches
    assert Matcher([line, "!"]).matches(path.encode()) is not matches


@pytest.mark.parametrize(("line", "path", "matches"), DEVIATIONS)
def test_deviations(line, path, matches) -> None:
    """Where the known forms of lines differ from the plain expression, they win."""
    assert Matcher([line]).matches(path.encode()) is matches


@pytest.mark.parametrize(
    ("lines", "matches"),
    [
        ([], False),
        (["!"], True),
        (["!", "!"], True),
        (["/x", "/y"], True),
        (["/x", "/z"], False),
        (["/x", "!", "/y"], False),
        (["!", "/x"], True),
        (["!x"], False),
    ],
)
def test_lines(lines, matches) -> None:
    """One line is enough; a line ``!`` anywhere inverts all of them."""
    assert Matcher(lines).matches(b"/y/file") is matches


@pytest.mark.parametrize(
    ("line", "path", "matches"),
    [
        ("/a", b"/a\xff", True),
        ("/a.b", b"/a\xffb", True),
        ("/a..b", b"/a\xff\xfeb", True),
        ("/a.b", b"/a\xff\xfeb", False),
        ("/a.b", b"/a\xc3b", True),
        ("/a.b", "/aäb".encode(), True),
        ("/a.*b$", b"/a\xff\xff\xffb", True),
    ],
)
def test_bytes(line, path, matches) -> None:
    """Each byte that is not UTF-8 counts as one character."""
    assert Matcher([line]).matches(path) is matches


@pytest.mark.parametrize(
    "line", ["", "(", "[", "a**", "(?<x", r"\8", "\udcff", "x{2000}"]
)
def test_bad(line) -> None:
    """What is no expression is refused; the text names it."""
    with pytest.raises(InvalidImage, match="expression"):
        Matcher(["/good", line])


def test_no_blowing_up() -> None:
    """No expression takes more than linear time."""
    assert not Matcher(["/(a*)*$"]).matches(b"/" + b"a" * 50_000 + b"!")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ()),
        ("\n\n", ()),
        ("/a\n/b\n", ("/a", "/b")),
        ("/a\n\n#comment\n/b", ("/a", "/b")),
        (" #no comment\n /a \n", (" #no comment", " /a ")),
        ("!\n/a#b\n", ("!", "/a#b")),
    ],
)
def test_parse(text, lines) -> None:
    """A file has a line for each expression; empty lines and comments do not count."""
    assert parse_filter(text) == Filter(lines)
