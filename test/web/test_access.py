"""Who may see what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gallery import files_of, image_of_build
from web.serving import Server, make_server

from imageserver import gob
from imageserver.model.hash import hash_of
from imageserver.srpc.access import ANONYMOUS, Identity, Policy
from imageserver.srpc.methods import Method
from imageserver.web.parts import WebOptions
from imageserver.web.visit import PageAccess, Section

_HASH = hash_of(b"web\n").hex()
_FILES = (
    f"/getObject?{_HASH}",
    "/compareFile?base/1&with=base/1&path=/etc/hostname",
)
_LOGS = (
    "/logs",
    "/logs?output=json",
    "/logs/dump?name=latest",
    "/logs/showLast?1h",
    "/logs/showSinceStartup",
    "/logs/showPreviousPanic",
)


def make_methods(*, public: bool = False, open_: bool = False) -> list[Method]:
    """The methods that decide who may see what."""
    get = Method("ObjectServer", "GetObjects", public=public, unauthenticated=open_)
    return [
        get,
        Method("Logger", "Watch"),
        Method("Logger", "GetStackTrace"),
    ]


@pytest.fixture(params=[(), ("files", "logs", "flags", "stacks")], ids=["shut", "open"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Pages with an image; once for everybody, once not."""
    options = WebOptions(
        opened=request.param,
        flag_values={"keyFile": "/etc/secret-key.pem"},
    )
    server = make_server(tmp_path, options, make_methods())
    contents = [*files_of(1).values(), b"notes"]
    image = image_of_build(1, 1)
    image = gob.evolve(image, release_notes=None, build_log=None)
    server.add("base/1", image, contents)
    yield server
    server.index.close()


def test_closed_pages(server: Server) -> None:
    """Contents, logs and stacks need a certificate, or a flag that opens them."""
    is_open = bool(server.web.parts.options.opened)
    for address in (*_FILES, *_LOGS, "/logs/showStackTrace"):
        code, _, body = server.fetch(address)
        assert code == (200 if is_open else 403), address
        if not is_open:
            assert b"not for everybody" in body
            assert b"-openPages=" in body


def test_closed_parts(server: Server) -> None:
    """Open pages leave out what is not for everybody."""
    is_open = bool(server.web.parts.options.opened)
    page = server.text("/file?base/1&path=/etc/hostname")
    assert ("/getObject?" in page) is is_open
    assert ("permits ObjectServer.GetObjects" in page) is not is_open
    assert (">web</span>" in page) is is_open
    page = server.text(f"/object?{_HASH}")
    assert (">web</span>" in page) is is_open
    page = server.text("/")
    assert ("The log is for those" in page) is not is_open
    metrics = server.text("/metrics/?format=text")
    assert ("/proc/args " in metrics) is is_open
    assert "/proc/start-time" in metrics
    assert (server.text("/metricsapi/proc/args") != "[]") is is_open
    assert server.fetch("/metricsapi/proc/args?singleton=1")[0] == (
        200 if is_open else 404
    )


@pytest.mark.parametrize(
    ("identity", "policy", "methods", "seen"),
    [
        (ANONYMOUS, Policy(), make_methods(), ""),
        (ANONYMOUS, Policy(insecure=True), make_methods(), "files flags logs stacks"),
        (ANONYMOUS, Policy(), make_methods(open_=True), "files"),
        (ANONYMOUS, Policy(), make_methods(public=True), ""),
        (Identity("joe"), Policy(), make_methods(), ""),
        (Identity("joe"), Policy(), make_methods(public=True), "files"),
        (
            Identity("joe", methods=("Logger.*",)),
            Policy(),
            make_methods(),
            "flags logs stacks",
        ),
        (
            Identity("joe", methods=("ObjectServer.GetObjects",)),
            Policy(),
            make_methods(),
            "files",
        ),
        (
            Identity("joe"),
            Policy(trusted_users=frozenset({"joe"})),
            make_methods(),
            "files flags logs stacks",
        ),
        (ANONYMOUS, Policy(), [], ""),
    ],
)
def test_rules(
    identity: Identity, policy: Policy, methods: list[Method], seen: str
) -> None:
    """Who may call the method that tells something may see the page that does."""
    access = PageAccess(lambda: policy, methods)
    assert " ".join(s for s in Section if access.permits(identity, s)) == seen


def test_opened_sections() -> None:
    """What a flag opens is open, and nothing else."""
    access = PageAccess(Policy, make_methods(), ("logs",))
    assert [s for s in Section if access.permits(ANONYMOUS, s)] == [Section.LOGS]


def test_no_effect_of_reading(server: Server) -> None:
    """No verb but GET and HEAD does anything."""
    for verb in ("POST", "PUT", "DELETE", "PATCH"):
        assert server.fetch("/listImages", verb)[0] == 405


@pytest.mark.parametrize("address", ["/", "/listImages", "/healthz", "/metricsapi/"])
def test_security_headers(server: Server, address: str) -> None:
    """All answers say what browsers must not do with them."""
    _, headers, _ = server.fetch(address)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
