"""Our tools against a server in Go that answers as existing servers do."""

from __future__ import annotations

from pathlib import Path

import pytest
from golang.srpcpeer import GoServer, take_steps
from processes import Certificates, Tool

pytestmark = pytest.mark.system

COMMANDS = [
    "list",
    "mkdir dir",
    "mkdir dir",
    "check dir/image",
    "add dir/image tree  ",
    "add dir/image tree  ",
    "check dir/image",
    "list",
    "listdirs",
    "get dir/image copy",
    "show dir/none",
]
EXPECTED = [
    (0, "", ""),
    (0, "", ""),
    (1, "", "error creating directory: directory: dir already exists\n"),
    (1, "", ""),
    (0, "", ""),
    (1, "", 'error adding image: "dir/image": image exists\n'),
    (0, "", ""),
    (0, "dir/image\n", ""),
    (0, ".\ndir\n", ""),
    (0, "", ""),
    (1, "", "error showing image: image: dir/none not found\n"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a small tree in it."""
    files = {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
        "usr/bin/tool": "#!\n" * 9_999,
    }
    for name, content in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True)
        path.write_text(content)
    return tmp_path


@pytest.fixture
def secured(srpcpeer, certificates: Certificates):
    """Start a server with TLS."""

    def run(*flags: str) -> GoServer:
        authorities = f"-authorities={certificates.ca_file}"
        own = f"-certificates={certificates.of('server')}"
        return GoServer(srpcpeer, authorities, own, *flags)

    return run


def assert_all_works(tool: Tool) -> None:
    """What goes in comes out again."""
    for command, expected in zip(COMMANDS, EXPECTED, strict=True):
        assert (command, tool(command)) == (command, expected)
    for path in ("etc/passwd", "usr/bin/tool"):
        copied, original = (tool.folder / name / path for name in ("copy", "tree"))
        assert copied.read_bytes() == original.read_bytes()


def test_secured(secured, certificates, folder) -> None:
    """All works over TLS."""
    with secured() as server:
        assert_all_works(Tool(folder, server.port, certificates.of("admin")))
    assert set(server.ways) == {"TLS gob"}


def test_verified(secured, certificates, folder) -> None:
    """The tool may verify the server, and use an older TLS."""
    with secured("-newestTLS=1.2") as server:
        flag = f"-serverCAfile={certificates.ca_file}"
        tool = Tool(folder, server.port, certificates.of("admin"), flag)
        assert tool("list") == (0, "", "")
    assert server.ways == ["TLS gob"]


def test_unsecured(srpcpeer, folder) -> None:
    """All works without TLS."""
    with GoServer(srpcpeer) as server:
        assert_all_works(Tool(folder, server.port))
    assert set(server.ways) == {"plain gob"}


def test_refusals(secured, certificates, folder) -> None:
    """Refusals are told as existing tools tell them."""
    with secured() as server:
        text = f"Error dialing: 127.0.0.1:{server.port}: missing certificate\n"
        assert Tool(folder, server.port, None, "-quiet")("list") == (1, "", text)
        nobody = Tool(folder, server.port, certificates.of("nobody"), "-quiet")
        text = "error listing images: access to method denied\n"
        assert nobody("list") == (1, "", text)
        stranger = Tool(folder, server.port, certificates.of("stranger"))
        code, said, complaint = stranger("list")
        assert (code, said) == (1, "")
        assert complaint
    assert server.ways == ["TLS gob"]


@pytest.mark.parametrize("coder", ["gob", "JSON"])
@pytest.mark.parametrize("flags", [(), ("-wholeTLS",)])
def test_the_two_programs(secured, srpcpeer, certificates, coder, flags) -> None:
    """The Go client and the Go server, which test ours, understand each other."""
    steps = {
        "ping": "ok",
        "make-directory dir": "ok",
        "check-image dir/image": "ok false",
        "list-directories": "ok . dir",
        "call Nobody.Nothing": "error unknown method: Nobody.Nothing",
        "list-images": "ok",
    }
    with secured(*flags) as server:
        said = take_steps(
            srpcpeer,
            server.port,
            steps,
            f"-coder={coder}",
            certificates=[certificates.of("admin")],
        )
    assert said == [f"ok TLS {coder}", *steps.values()]


@pytest.mark.parametrize("coder", ["gob", "JSON"])
def test_the_two_programs_on_one_host(srpcpeer, coder, tmp_path) -> None:
    """They move to a Unix socket, too."""
    steps = {"ping": "ok", "list-directories": "ok .", "check-image x": "ok false"}
    for socket in ("@srpcpeer-test", str(tmp_path / "socket")):
        with GoServer(srpcpeer, f"-unixSocket={socket}") as server:
            said = take_steps(srpcpeer, server.port, steps, f"-coder={coder}")
            assert said == [f"ok Unix {coder}", *steps.values()]
            said = take_steps(srpcpeer, server.port, steps, "-reachUnix=false")
            assert said == ["ok plain gob", *steps.values()]
