"""Nothing that others have stored becomes markup, or an address that is run."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from twisted.logger import LogLevel
from web.serving import Server, make_server

from imageserver import gob
from imageserver.audit import AuditLog, Entry
from imageserver.disk import Disk
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter
from imageserver.model.hash import hash_of
from imageserver.model.image import Annotation, Image, Package
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    RegularInode,
    SymlinkInode,
)
from imageserver.model.triggers import Trigger, Triggers
from imageserver.web.parts import WebOptions

EVIL = """<img src=x onerror=alert(1)>'"><script>alert(2)</script>{{7*7}}"""
SCRIPT = "javascript:alert(3)//" + EVIL
NAME = "dir/<img src=x onerror=alert(1)>'\"><script>alert(2)<&script>{{7*7}}%0d"
_TEXT = EVIL.encode()
_SCRIPT_TEXT = SCRIPT.encode()


def evil_image(notes: Annotation) -> Image:
    """An image with markup in every field."""
    name = EVIL.replace("/", "|").encode()
    inodes = {
        1: RegularInode(0o100644, size=len(_TEXT), hash_=hash_of(_TEXT)),
        2: SymlinkInode(target=_SCRIPT_TEXT),
        3: ComputedRegularInode(0o100644, 0, 0, SCRIPT),
        4: DirectoryInode((DirectoryEntry(name, 1),), 0o40755),
    }
    entries = (
        DirectoryEntry(name, 1),
        DirectoryEntry(name + b"2", 2),
        DirectoryEntry(name + b"3", 3),
        DirectoryEntry(name + b"4", 4),
    )
    line = EVIL.replace("(", "[(]").replace(")", "[)]").replace("*", ".*")
    line = line.replace("{{", "[{][{]").replace("?", ".")
    return Image(
        build_branch=EVIL,
        build_commit_id=EVIL,
        build_git_url=SCRIPT,
        created_by=EVIL,
        created_for=EVIL,
        filter=Filter((line,)),
        triggers=Triggers((Trigger((line,), EVIL, EVIL),)),
        release_notes=notes,
        build_log=Annotation(object_hash=hash_of(_TEXT)),
        owner_groups=(EVIL,),
        owner_users=(EVIL,),
        packages=(Package(EVIL, 1, EVIL),),
        source_image=SCRIPT,
        tags={EVIL: EVIL},
        file_system=FileSystem(inodes, root=DirectoryInode(entries, 0o40755)),
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages that show nothing but markup of others."""
    path: Path = tmp_path_factory.mktemp("evil")
    options = WebOptions(
        opened=("files", "logs", "flags", "stacks"), audit_path=path / "audit"
    )
    server = make_server(path, options)
    audit = AuditLog(path / "audit", Disk(), lambda: 0)
    for outcome in ("ok", EVIL):
        method = "ImageServer.AddImage"
        audit.append(Entry(EVIL, EVIL, method, NAME, outcome))
    (path / "images" / "dir").mkdir()
    server.index.add_directory("dir", EVIL)
    server.index.add_directory(f"dir/{EVIL}", EVIL)
    other = NAME + "2"
    server.add(NAME, evil_image(Annotation(url=SCRIPT)), [_TEXT])
    first = evil_image(Annotation(object_hash=hash_of(_TEXT)))
    changed = gob.evolve(
        first, tags={EVIL: "x"}, packages=(), filter=None, created_for="x"
    )
    server.add(other, changed, [_TEXT])
    server.buffer(
        {
            "log_format": "{text}",
            "text": EVIL,
            "log_level": LogLevel.warn,
            "log_time": 0.0,
            "log_namespace": "x",
        }
    )

    server.database.incomplete = {NAME: 1}
    yield server
    server.index.close()


class Collector(HTMLParser):
    """Collects what a browser would take for markup."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See ``HTMLParser``."""
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """See ``HTMLParser``."""
        self.texts.append(data)


def addresses(server: Server) -> list[str]:
    """All pages that show something of these images."""
    name, other = (_encode(it) for it in (NAME, NAME + "2"))
    path = "/" + _encode(EVIL.replace("/", "|"))
    hash_hex = hash_of(_TEXT).hex()
    pages = (
        *("showImage", "listImage", "listFilter", "listTriggers", "listPackages"),
        *("listComputedInodes", "listBuildLog", "listReleaseNotes", "browse"),
        *("imageSpace", "compareImages"),
    )
    return [
        *(f"/{page}?{it}" for page in pages for it in (name, other)),
        f"/compareImages?{name}&with={other}",
        f"/compareFile?{name}&with={other}&path={path}",
        *(f"/{p}?{name}&path={path}{n}" for n in ("", 2, 3, 4) for p in _TREE),
        f"/browse?{name}&path=/{_encode(EVIL)}",
        *("/", "/listImages", "/listDirectories", "/objects", "/replication", "/logs"),
        f"/listImages?q={_encode(EVIL)}&directoryName={_encode(EVIL)}",
        f"/listImages?q=img&sort={_encode(EVIL)}",
        f"/showImage?{_encode(EVIL)}",
        f"/findPath?path={path}",
        f"/object?{hash_hex}",
        f"/metrics/{_encode(EVIL)}",
        f"/logs?include={_encode('img src')}",
        "/logs/showLast?9y",
        "/space",
    ]


_TREE = ("browse", "file")


def _encode(text: str) -> str:
    return quote(text, "")


def test_no_markup(server: Server) -> None:
    """No page has an element, an attribute or an address that others have written."""
    list(server.web.parts.surveyor.steps())
    seen = 0
    for address in addresses(server):
        code, headers, body = server.fetch(address)
        assert code in (200, 400, 404), (address, code)
        assert headers["Content-Type"] == "text/html; charset=utf-8", address
        page = body.decode()
        found = Collector()
        found.feed(page)
        seen += "onerror" in " ".join(found.texts)
        assert not found.tags & {"img", "iframe", "object"}, address
        scripts = re.findall(r"<script[^>]*>", page)
        assert len(scripts) == 1, address
        assert re.fullmatch(r'<script src="/static/live.js\?\w+" defer>', scripts[0])
        for tag, name, value in found.attributes:
            assert not name.startswith("on"), (address, tag, name)
            assert name in _ATTRIBUTES, (address, tag, name)
            if name in ("href", "src", "action", "data-fetch"):
                target = html.unescape(value).strip().lower()
                assert target.startswith(("/", "#", "https://", "http://")), target
                assert not target.startswith("//"), target

    assert seen > 30


_ATTRIBUTES = frozenset(
    "action aria-current aria-hidden aria-label aria-labelledby aria-sort autocomplete"
    " charset class colspan content data-copy data-fetch data-filter data-live"
    " data-table defer d for height hidden href id lang max maxlength method name"
    " placeholder points preserveaspectratio rel role scope src tabindex title type"
    " value viewbox width x x1 x2 y1 y2".split()
)


def test_json_is_json(server: Server) -> None:
    """The same as JSON is JSON, and as text has no lines that others have begun."""
    for address in addresses(server):
        sign = "&" if "?" in address else "?"
        code, headers, body = server.fetch(f"{address}{sign}output=json")
        if headers["Content-Type"] == "application/json":
            json.loads(body)
        else:
            assert code != 200, address
        code, headers, body = server.fetch(f"{address}{sign}output=text")
        assert headers["Content-Type"] == "text/plain; charset=utf-8", address


def test_lines_of_text(server: Server) -> None:
    """What a package or a computed file is called cannot begin a line of its own."""
    image = evil_image(Annotation())
    package = Package("a\nb 1 2", 1, "c\r\nd")
    server.add("dir/lines", gob.evolve(image, packages=(package,)), [_TEXT])
    text = server.text("/listPackages?dir/lines&output=text")
    assert text == "a\\nb 1 2 c\\r\\nd 1\n"
