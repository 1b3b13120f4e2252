"""Our tools against a server in Go: by other ways than gob in a TLS session."""

from __future__ import annotations

from pathlib import Path

import pytest
from golang.srpcpeer import GoServer
from processes import Certificates, Tool

pytestmark = pytest.mark.system


def assert_calls_work(server: GoServer, folder: Path, *certificate: Path) -> None:
    """Requests with a reply, refusals, and streams of values, all in one go."""
    tool = Tool(folder, server.port, *certificate)
    assert tool("mkdir dir") == (0, "", "")
    refused = "error creating directory: directory: dir already exists\n"
    assert tool("mkdir dir") == (1, "", refused)
    assert tool("listdirs") == (0, ".\ndir\n", "")
    assert tool("check dir/none") == (1, "", "")
    assert tool("list") == (0, "", "")


@pytest.fixture
def secured(srpcpeer, certificates: Certificates):
    """Start a server with TLS."""

    def run(*flags: str) -> GoServer:
        authorities = f"-authorities={certificates.ca_file}"
        own = f"-certificates={certificates.of('server')}"
        return GoServer(srpcpeer, authorities, own, *flags)

    return run


@pytest.mark.parametrize("coder", ["gob", "JSON"])
def test_tls_for_the_whole_connection(secured, certificates, tmp_path, coder) -> None:
    """A server that answers with an alert is called again with TLS from the start."""
    with secured("-wholeTLS", f"-coder={coder}") as server:
        assert_calls_work(server, tmp_path, certificates.of("admin"))
    assert set(server.ways) == {f"TLS {coder}"}


def test_json_over_tls(secured, certificates, tmp_path) -> None:
    """Where there is no gob, calls are made in JSON."""
    with secured("-coder=JSON") as server:
        assert_calls_work(server, tmp_path, certificates.of("admin"))
    assert set(server.ways) == {"TLS JSON"}


def test_unsecured_json(srpcpeer, tmp_path) -> None:
    """The same without TLS."""
    with GoServer(srpcpeer, "-coder=JSON") as server:
        assert_calls_work(server, tmp_path)
    assert set(server.ways) == {"plain JSON"}


@pytest.mark.parametrize("coder", ["gob", "JSON"])
@pytest.mark.parametrize("is_file", [False, True])
def test_unix_socket(secured, certificates, tmp_path, coder, is_file) -> None:
    """On the server's machine, calls move to a Unix socket."""
    socket = tmp_path / "socket" if is_file else f"@{tmp_path.name}-{coder}"
    with secured(f"-coder={coder}", f"-unixSocket={socket}") as server:
        assert_calls_work(server, tmp_path, certificates.of("admin"))
    assert set(server.ways) == {f"TLS {coder}", f"Unix {coder}"}
