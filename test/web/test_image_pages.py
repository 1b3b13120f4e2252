"""Pages about images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gallery import BUILD_LOG, NOTES, files_of, image_of_build
from web.serving import Server, make_server

from imageserver import gob
from imageserver.gob import Time
from imageserver.model.hash import hash_of
from imageserver.model.image import Annotation, Image
from imageserver.model.triggers import Triggers
from imageserver.testing import make_image
from imageserver.web.parts import WebOptions

_CREATED_S = 1_700_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages over some images; nothing is changed."""
    path: Path = tmp_path_factory.mktemp("images")
    server = make_server(path, WebOptions(opened=("files", "logs", "flags", "stacks")))
    for build in (1, 2, 10):
        contents = [*files_of(build).values(), NOTES, BUILD_LOG]
        image = image_of_build(build, _CREATED_S + build)
        server.add(f"base/web/{build}", image, contents)
    plain = make_image({"etc/hostname": b"plain\n"}, filter=None, created_by="bob")
    server.add("other/plain", plain, [b"plain\n"])
    odd = make_image(
        {"x": b"x"},
        triggers=Triggers(),
        release_notes=Annotation(url="https://notes.example.com/1"),
        build_log=Annotation(url="javascript:alert(1)"),
        expires_at=Time.from_nanoseconds(2_000_000_000 * 10**9),
    )
    server.add("other/odd name&more", odd, [b"x"])
    yield server
    server.index.close()


def names(server: Server, query: str) -> list[str]:
    """The names that a list has as text."""
    return server.text(f"/listImages?output=text&{query}").split("\n")[:-1]


ALL = [
    "base/web/1",
    "base/web/2",
    "base/web/10",
    "other/odd name&more",
    "other/plain",
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ALL),
        ("directoryName=base", ALL[:3]),
        ("directoryName=base/web/", ALL[:3]),
        ("directoryName=base/", []),
        ("directoryName=nowhere", []),
        ("directoryName=.", ALL),
        ("q=WEB/1", ["base/web/1", "base/web/10"]),
        ("q=web+10", ["base/web/10"]),
        ("q=tag:stage=test", ["base/web/2", "base/web/10"]),
        ("q=tag:stage", ALL[:3]),
        ("q=by:bob", ["other/plain"]),
        ("q=commit:0ac0ff", ["base/web/10"]),
        ("q=commit:main", ALL[:3]),
        ("q=has:openssl", ALL[:3]),
        ("q=has:openss", []),
        ("q=owner:web-team", ALL[:3]),
        ("q=production", ["base/web/1"]),
        ("q=%22odd+name%22", ["other/odd name&more"]),
        ("q=nothing", []),
        ("sort=-name", ALL[::-1]),
        ("sort=-created&q=web/", ["base/web/10", "base/web/2", "base/web/1"]),
        ("sort=files", [*ALL[3:], *ALL[:3]]),
    ],
)
def test_list(server: Server, query: str, found: list[str]) -> None:
    """Images are found by what is known of them, in the order that is wanted."""
    assert names(server, query) == found


def test_list_as_json(server: Server) -> None:
    """JSON has a page at a time, and says how many there are."""
    values = server.json("/listImages?output=json&limit=2&page=2")
    assert (values["found"], values["page"], values["pages"]) == (5, 2, 3)
    assert [it["name"] for it in values["images"]] == ALL[2:4]
    first = values["images"][0]
    assert first["tags"] == {"stage": "test", "team": "web"}
    assert (first["file_count"], first["computed_count"]) == (67, 1)
    assert (first["filter_lines"], first["trigger_count"]) == (3, 2)
    assert first["created_on_ns"] == (_CREATED_S + 10) * 10**9
    assert values["images"][1]["expires_at_ns"] == 2_000_000_000 * 10**9
    assert values["images"][1]["trigger_count"] == 0
    plain = server.json("/listImages?output=json&q=plain")["images"][0]
    assert (plain["filter_lines"], plain["trigger_count"]) == (None, None)


@pytest.mark.parametrize("query", ["page=0", "page=x", "limit=9999", "sort=shape"])
def test_wrong_parameters(server: Server, query: str) -> None:
    """What makes no sense is an error that says what would."""
    code, _, body = server.fetch(f"/listImages?{query}")
    assert code == 400
    assert b"cannot be sorted" in body or b"has to be a number" in body


def test_directories(server: Server) -> None:
    """Directories are listed by name, with what is in them and below."""
    text = server.text("/listDirectories?output=text")
    assert text == ".\nbase\nbase/web\nother\n"
    rows = {it["name"]: it for it in server.json("/listDirectories?output=json")}
    assert (rows["."]["images"], rows["."]["images_below"]) == (0, 5)
    assert (rows["base/web"]["images"], rows["base"]["images_below"]) == (3, 3)


@pytest.mark.parametrize("name", ["base/web/2", "base%2Fweb%2F2", "base/web%2f2"])
def test_image(server: Server, name: str) -> None:
    """An image is found by its name as it is, and encoded."""
    page = server.text(f"/showImage?{name}")
    for text in ("base/web/2", "alice", "the web team", "production", "02c0ffee02c0"):
        assert (text in page) is (text != "production")
    values = server.json(f"/showImage?{name}&output=json")
    assert values["name"] == "base/web/2"
    assert values["build_log"] == {"object": hash_of(BUILD_LOG).hex(), "url": ""}
    text = server.text(f"/showImage?{name}&output=text")
    assert "created_by alice\n" in text


def test_name_with_ampersand(server: Server) -> None:
    """A name with an ampersand is reached by the links of the pages."""
    page = server.text("/listImages?q=odd")
    assert 'href="/showImage?other/odd%20name%26more"' in page
    assert "other/odd name&amp;more" in server.text(
        "/showImage?other/odd%20name%26more"
    )


@pytest.mark.parametrize(
    "page",
    [
        *("showImage", "listImage", "listFilter", "listTriggers", "listPackages"),
        *(
            "listComputedInodes",
            "listBuildLog",
            "listReleaseNotes",
            "browse",
            "imageSpace",
        ),
        "compareImages",
    ],
)
def test_unknown_image(server: Server, page: str) -> None:
    """An image that is not there is 404, in each format, and near ones are offered."""
    code, _, body = server.fetch(f"/{page}?base/web/7")
    assert code == 404
    assert b"Image: base/web/7 UNKNOWN!" in body
    assert b'href="/showImage?base/web/10"' in body
    code, _, body = server.fetch(f"/{page}?base/web/7&output=json")
    assert (code, json.loads(body)["error"]) == (404, "Image: base/web/7 UNKNOWN!")
    assert server.fetch(f"/{page}?base/web/7&output=text")[0] == 404
    assert server.fetch(f"/{page}?")[0] == 404


def test_listing(server: Server) -> None:
    """The files of an image are listed as imagetool does."""
    text = server.text("/listImage?base/web/2&output=text")
    assert text.startswith("drwxr-xr-x   1     0     0")
    (line,) = [it for it in text.split("\n") if "/etc/hostname" in it]
    assert line.startswith("-rw-r--r--   1     0     0          4 14 Nov 2023 ")
    assert line.endswith(f" /etc/hostname {hash_of(b'web' + bytes([10])).hex()}")
    (line,) = [it for it in text.split("\n") if "/usr/bin/sh " in it]
    assert line.endswith("/usr/bin/sh -> agent")
    page = server.text("/listImage?base/web/2")
    assert "/resolv.conf &lt;- config.example.com:6980" in page
    paths = [it["path"] for it in server.json("/listImage?base/web/2&output=json")]
    assert len(paths) == text.count("\n") - 1
    assert "/etc/billing/agent.conf" in paths


def test_filter(server: Server) -> None:
    """Lines of the filter are listed; those that are slow are marked."""
    lines = list(image_of_build(2, 0).filter.lines)
    assert server.json("/listFilter?base/web/2&output=json") == lines
    assert server.text("/listFilter?base/web/2&output=text").split("\n")[:-1] == lines
    page = server.text("/listFilter?base/web/2")
    assert page.count('<code class="unoptimised">') == 0
    assert "Sparse filter" in server.text("/listFilter?other/plain")
    assert server.json("/listFilter?other/plain&output=json") is None


def test_triggers(server: Server) -> None:
    """Triggers are JSON as in files of triggers; none and an empty list differ."""
    expected = [
        {"MatchLines": ["/etc/billing/.*"], "Service": "billing", "DoReload": True},
        {
            "MatchLines": ["/boot/.*"],
            "Service": "reboot",
            "DoReboot": True,
            "HighImpact": True,
        },
    ]
    text = server.text("/listTriggers?base/web/2&output=text")
    assert json.loads(text) == expected
    assert text.startswith('[\n    {\n        "MatchLines"')
    assert server.json("/listTriggers?base/web/2&output=json") == expected
    assert server.text("/listTriggers?other/plain&output=text") == "NO TRIGGERS\n"
    name = "other/odd%20name%26more"
    assert server.text(f"/listTriggers?{name}&output=text") == "null\n"


def test_packages(server: Server) -> None:
    """Packages are listed with version and size, in three formats and no other."""
    text = server.text("/listPackages?base/web/2&output=text")
    assert text.split("\n")[0] == "package0 1.0 10000"
    assert "openssl 3.0.2 2300000\n" in text
    found = server.json("/listPackages?base/web/2&output=json")
    assert found[0] == {"Name": "package0", "Size": 10000, "Version": "1.0"}
    body = server.text("/listPackages?base/web/2&output=json")
    assert body.startswith('[\n    {\n        "Name": "package0",\n')
    for query, code in (
        ("base/web/2&output=csv", 400),
        ("base/web/2&base/web/1", 400),
        ("", 404),
        ("nothing", 404),
    ):
        assert server.fetch(f"/listPackages?{query}")[0] == code


def test_computed_files(server: Server) -> None:
    """Computed files are listed with a link to their source."""
    page = server.text("/listComputedInodes?base/web/2")
    assert 'href="http://config.example.com:6980"' in page
    assert server.json("/listComputedInodes?base/web/2&output=json") == [
        {"Filename": "/resolv.conf", "Source": "config.example.com:6980"}
    ]
    text = server.text("/listComputedInodes?base/web/2&output=text")
    assert text == "/resolv.conf config.example.com:6980\n"


def test_notes(server: Server) -> None:
    """Texts are shown; addresses are links only if browsers go there safely."""
    assert server.text("/listReleaseNotes?base/web/2&output=text") == NOTES.decode()
    assert "step 199: done" in server.text("/listBuildLog?base/web/2")
    assert "no build log" in server.text("/listBuildLog?other/plain")
    name = "other/odd%20name%26more"
    assert 'href="https://notes.example.com/1"' in server.text(
        f"/listReleaseNotes?{name}"
    )
    page = server.text(f"/listBuildLog?{name}")
    assert "javascript:alert(1)" in page
    assert 'href="javascript' not in page


def test_browsing(server: Server) -> None:
    """Folders and files are reached by their paths."""
    top = server.json("/browse?base/web/2&output=json")
    kinds = {it["name"]: it["kind"] for it in top}
    assert kinds == {
        "etc": "directory",
        "resolv.conf": "computed",
        "tmp": "directory",
        "usr": "directory",
    }
    text = server.text("/browse?base/web/2&path=/usr/bin&output=text")
    assert text == "/usr/bin/agent\n/usr/bin/sh\n"
    page = server.text("/browse?base/web/2&path=/usr/bin")
    assert "→ agent" in page
    assert 'href="/file?base/web/2&amp;path=/usr/bin/agent"' in page
    file = server.json("/file?base/web/2&path=/etc/passwd&output=json")
    assert (file["mode"], file["kind"], file["mtime"] > 1.7e9) == ("0644", "file", True)
    assert server.fetch("/browse?base/web/2&path=/etc/nothing")[0] == 404
    assert server.fetch("/browse?base/web/2&path=/etc/passwd/x")[0] == 404


def test_viewing_files(server: Server) -> None:
    """Text has line numbers, pictures are shown, the rest is digits."""
    page = server.text("/file?base/web/2&path=/etc/billing/agent.conf")
    assert '<span class="line" id="L8">build = 2</span>' in page
    page = server.text("/file?base/web/2&path=/usr/share/logo.png")
    assert '<img src="/getObject?' in page
    page = server.text("/file?base/web/2&path=/usr/bin/agent")
    assert "Only the beginning is shown" in page
    assert "00000010" in page
    assert "The file is empty" in server.text("/file?base/web/2&path=/etc/empty")


def test_comparing(server: Server) -> None:
    """Two images are compared in everything."""
    address = "/compareImages?base/web/1&with=base/web/2"
    text = server.text(f"{address}&output=text")
    assert text == (
        "+ /usr/lib/release-2\n- /usr/lib/release-1\n"
        "! /etc/billing/agent.conf (content)\n"
    )
    values = server.json(f"{address}&output=json")
    assert values["counts"] == {"added": 1, "removed": 1, "changed": 1}
    facts = values["metadata"]
    assert facts["packages"] == {"openssl": ["3.0.1", "3.0.2"]}
    assert facts["tags"] == {"stage": ["production", "test"]}
    assert list(facts["fields"]) == ["build_commit_id"]
    assert "text difference" in server.text(address)
    lines = server.json(
        "/compareFile?base/web/1&with=base/web/2&path=/etc/billing/agent.conf"
        "&output=json"
    )
    assert [it for it in lines if it[0] in "+-"][2:] == ["-build = 1", "+build = 2"]
    assert server.fetch("/compareImages?base/web/1&with=nothing")[0] == 404
    found = server.text("/compareImages?base%2Fweb%2F1=&q=plain")
    assert 'href="/compareImages?base/web/1&amp;with=other/plain"' in found
    page = server.text("/compareImages?base/web/1")
    assert 'href="/compareImages?base/web/1&amp;with=base/web/10"' in page


def test_nothing_to_compare(server: Server) -> None:
    """An image is no different from itself; what is no text is not compared as text."""
    same = server.json("/compareImages?base/web/1&with=base/web/1&output=json")
    assert same["counts"] == {"added": 0, "removed": 0, "changed": 0}
    path = "/compareFile?base/web/1&with=base/web/2&path="
    for wrong in ("/usr/share/logo.png", "/etc"):
        assert server.fetch(path + wrong)[0] in (400, 404)


def test_objects_and_paths(server: Server) -> None:
    """Who uses an object, or has a path, is found."""
    hash_hex = hash_of(b"web\n").hex()
    values = server.json(f"/object?{hash_hex}&output=json")
    assert (values["size"], values["references"]) == (4, 3)
    assert [it["name"] for it in values["images"]] == sorted(ALL[:3])
    text = server.text("/findPath?path=/etc/hostname&output=text")
    assert text.split("\n")[:-1] == [*sorted(ALL[:3]), "other/plain"]
    assert server.text("/findPath?path=/etc/nothing&output=text") == ""
    assert "base/web/1" in server.text("/findPath?path=/etc/passwd")
    assert server.json(f"/object?hash={hash_hex}&output=json") == values
    assert server.fetch(f"/object?{'0' * 128}")[0] == 404
    assert server.fetch("/object?xyz")[0] == 400


def test_space(server: Server) -> None:
    """The own bytes of an image are those of objects that no other one uses."""
    values = server.json("/imageSpace?base/web/2&output=json")
    own = len(files_of(2)["etc/billing/agent.conf"]) + len(b"2\n")
    assert values["own_bytes"] == own
    assert values["entries"]["usr"]["own_bytes"] == len(b"2\n")
    assert "is not over yet" in server.text("/space")
    for _ in server.web.parts.surveyor.steps():
        pass
    survey = server.json("/space?output=json")
    assert survey["images"]["base/web/2"] == own
    assert survey["images"]["other/plain"] == len(b"plain\n")
    found = server.json("/listImages?output=json&q=web/2")["images"]
    assert found[0]["own_bytes"] == own
    assert "own " in server.text("/listImages?q=web/2")
    assert f'title="{own} bytes"' in server.text("/showImage?base/web/2")
    whole = survey["directories"]["."]
    parts = survey["directories"]["base"] + survey["directories"]["other"]
    assert whole == parts
    assert survey["directories"]["base"] == survey["directories"]["base/web"]


def test_incomplete(server: Server) -> None:
    """An image that lacks objects is marked wherever it is listed."""
    server.database.incomplete = {"base/web/2": 3}
    try:
        for address in ("/listImages", "/showImage?base/web/2", "/objects"):
            assert "incomplete" in server.text(address).lower()
        found = server.json("/listImages?output=json&q=web/2")["images"]
        assert found[0]["missing_objects"] == 3
    finally:
        server.database.incomplete = {}


def test_names_that_are_no_text(server: Server) -> None:
    """Names of files need not be UTF-8; links lead to them all the same."""
    tree = make_image({"cafe": b"x"})
    assert tree.file_system is not None
    entry = tree.file_system.root.entries[0]
    root = gob.evolve(
        tree.file_system.root, entries=(gob.evolve(entry, name=b"caf\xe9"),)
    )
    image: Image = gob.evolve(tree, file_system=gob.evolve(tree.file_system, root=root))
    server.add("other/latin", image, [b"x"])
    page = server.text("/browse?other/latin")
    assert 'href="/file?other/latin&amp;path=/caf%E9"' in page
    assert "caf\\udce9" in page
    assert "caf\\udce9" in server.text("/file?other/latin&path=/caf%E9")
    assert server.json("/browse?other/latin&output=json")[0]["name"] == "caf\udce9"
    server.text("/listImage?other/latin")
