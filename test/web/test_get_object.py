"""Objects as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gallery import picture
from web.serving import Server, make_server

from imageserver.model.hash import hash_of
from imageserver.testing import make_image
from imageserver.web.get_object import sniff
from imageserver.web.parts import WebOptions

_CONTENT = bytes(range(256)) * 4096  # 1 MiB: several pieces
_SIZE = len(_CONTENT)
_ADDRESS = f"/getObject?{hash_of(_CONTENT).hex()}"
_TAG = f'"{hash_of(_CONTENT).hex()}"'
_MARKUP = b"<html><script>alert(1)</script></html>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages over some objects."""
    path: Path = tmp_path_factory.mktemp("objects")
    server = make_server(path, WebOptions(opened=("files",)))
    contents = {"a": _CONTENT, "b": _MARKUP, "c": picture()}
    server.add("x", make_image(contents), contents.values())
    yield server
    server.index.close()


def test_whole(server: Server) -> None:
    """An object comes whole, for browsers to keep for ever, and not to be run."""
    code, headers, body = server.fetch(_ADDRESS)
    assert (code, body) == (200, _CONTENT)
    assert headers["Content-Length"] == str(_SIZE)
    assert headers["ETag"] == _TAG
    assert "immutable" in headers["Cache-Control"]
    assert "private" in headers["Cache-Control"]
    assert headers["Accept-Ranges"] == "bytes"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-", 1000, _SIZE),
        ("bytes=5-9", 5, 10),
        ("bytes=300000-700000", 300_000, 700_001),
        ("bytes=-3", _SIZE - 3, _SIZE),
        (f"bytes=-{_SIZE + 1}", 0, _SIZE),
        (f"bytes=9-{_SIZE * 9}", 9, _SIZE),
    ],
)
def test_parts(server: Server, wanted: str, start: int, end: int) -> None:
    """A part is what was asked for."""
    code, headers, body = server.fetch(_ADDRESS, range=wanted)
    assert body == _CONTENT[start:end]
    assert code == (200 if end - start == _SIZE else 206)
    if code == 206:
        assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{_SIZE}"
    assert headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize(
    "wanted", ["bytes=-", "bytes=5-2", "lines=1-2", "bytes=1-2,4-5", "bytes=x-"]
)
def test_odd_ranges(server: Server, wanted: str) -> None:
    """What is not understood is as if it were not there."""
    code, _, body = server.fetch(_ADDRESS, range=wanted)
    assert (code, len(body)) == (200, _SIZE)


@pytest.mark.parametrize("wanted", [f"bytes={_SIZE}-", "bytes=9999999999-"])
def test_ranges_outside(server: Server, wanted: str) -> None:
    """There is nothing behind the end."""
    code, headers, body = server.fetch(_ADDRESS, range=wanted)
    assert (code, body) == (416, b"")
    assert headers["Content-Range"] == f"bytes */{_SIZE}"


def test_conditions(server: Server) -> None:
    """What the browser has is not sent again; another one's range is not used."""
    for known in (_TAG, f'"x", W/{_TAG}', "*"):
        code, headers, body = server.fetch(_ADDRESS, if_none_match=known)
        assert (code, body, headers["ETag"]) == (304, b"", _TAG)
    assert server.fetch(_ADDRESS, if_none_match='"other"')[0] == 200
    for tag, code in ((_TAG, 206), ('"other"', 200)):
        assert server.fetch(_ADDRESS, range="bytes=1-2", if_range=tag)[0] == code


def test_head(server: Server) -> None:
    """HEAD tells the size, without the content; the file is closed again."""
    code, headers, body = server.fetch(_ADDRESS, "HEAD")
    assert (code, body, headers["Content-Length"]) == (200, b"", str(_SIZE))


def test_download(server: Server) -> None:
    """A download has the name that the link gives it, whatever is in it."""
    name = "a%22b%0d%0aX: y%C3%A9"
    _, headers, _ = server.fetch(f"{_ADDRESS}&name={name.replace(' ', '+')}")
    value = headers["Content-Disposition"]
    assert value == "attachment; filename*=UTF-8''a%22b%0D%0AX%3A%20y%C3%A9"
    assert "X" not in headers


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"plain\n", "text/plain; charset=utf-8"),
        (_MARKUP, "text/plain; charset=utf-8"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text/plain; charset=utf-8"),
        ("ä".encode() * 256, "text/plain; charset=utf-8"),
        (picture()[:512], "image/png"),
        (b"RIFF1234WEBP\0", "image/webp"),
        (b"\0\1\2", "application/octet-stream"),
        (b"", "application/octet-stream"),
        (b"\xff\xfe\xfd", "application/octet-stream"),
    ],
)
def test_types(data: bytes, kind: str) -> None:
    """No type is ever one that browsers run."""
    assert sniff(data, is_cut=False) == kind


def test_text_cut_in_a_character() -> None:
    """A text whose beginning ends within a character is text."""
    data = "xä€😀".encode()
    for end in range(1, len(data)):
        assert sniff(data[:end], is_cut=True) == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("query", "code"), [("xyz", 400), ("", 404), ("ab", 404), ("0" * 128, 404)]
)
def test_unknown(server: Server, query: str, code: int) -> None:
    """What is no hash, or is not there, is told apart."""
    assert server.fetch(f"/getObject?{query}")[0] == code
