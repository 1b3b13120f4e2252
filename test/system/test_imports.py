"""ImportObjects from a real web server."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Daemon

from imageserver.model.hash import hash_of
from imageserver.model.image_messages import ImportTreeRequest, ImportTreeResponse
from imageserver.model.object_messages import (
    CheckObjectsRequest,
    CheckObjectsResponse,
    ImportObjectsRequest,
    ImportObjectsResponse,
)

pytestmark = pytest.mark.system

FILE, TARGET = b"content", b"file"
TREE = b"\n".join(
    f"{name}/{kind}/420/0/0/{len(content)}/{hash_of(content).hex()}".encode()
    for name, kind, content in (("file", 0, FILE), ("link", 2, TARGET))
)
SMALL = [b"object %d" % number for number in range(300)]
LARGE = os.urandom(5 << 20)
CONTENTS = [*SMALL, LARGE, FILE, TARGET, TREE]


class Server(http.server.ThreadingHTTPServer):
    """Has objects; each large one is cut off once, at a third."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.contents = {hash_of(content).hex(): content for content in CONTENTS}
        self.ranges: list[str | None] = []
        self.cut: set[str] = set()


class Request(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Send an object or a part of it."""
        name = self.path.rpartition("/")[2]
        content = self.server.contents[name]
        wanted = self.headers["Range"]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.server.ranges.append(wanted)
            where = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", where)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if len(content) > 1 << 20 and name not in self.server.cut:
            self.server.cut.add(name)
            self.wfile.write(content[: len(content) // 3])
            self.close_connection = True
        else:
            self.wfile.write(content[start:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[Server]:
    """A web server with objects."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_import(stopped_daemon: Daemon, web: Server) -> None:
    """Objects come over HTTP, also those that are cut off; they are on disk then."""
    base = f"http://127.0.0.1:{web.server_port}"
    daemon = stopped_daemon
    daemon.start(f"-importSources={base}/objects")
    hashes = tuple(map(hash_of, [*SMALL, LARGE]))
    with daemon.client() as client:
        response = client.call(
            "ObjectServer.ImportObjects",
            ImportObjectsRequest(f"{base}/objects", hashes, ()),
            ImportObjectsResponse,
        )
        size = sum(map(len, SMALL)) + len(LARGE)
        assert response == ImportObjectsResponse(size, "", 0, 301)
        assert len(web.ranges) == 1
        assert web.ranges[0] != "bytes=0-"
        daemon.kill()
    for content in (SMALL[17], LARGE):
        name = hash_of(content).hex()
        path = daemon.objects / name[:2] / name[2:4] / name[4:]
        assert path.read_bytes() == content
    daemon.start()
    with daemon.client() as client:
        checked = client.call(
            "ObjectServer.CheckObjects",
            CheckObjectsRequest(hashes),
            CheckObjectsResponse,
        )
        assert checked.object_sizes == tuple(map(len, [*SMALL, LARGE]))
        response = client.call(
            "ObjectServer.ImportObjects",
            ImportObjectsRequest(f"{base}/objects", (bytes(64),), ()),
            ImportObjectsResponse,
        )
        text = f"imports from {base}/objects are not allowed (-importSources)"
        assert response == ImportObjectsResponse(error=text)
    assert daemon.stop() == 0
    assert b"Traceback" not in daemon.log_bytes()
    assert b"factory" not in daemon.log_bytes()


def test_import_tree(stopped_daemon: Daemon, web: Server, tmp_path: Path) -> None:
    """A published tree becomes an image, which can be unpacked."""
    base = f"http://127.0.0.1:{web.server_port}"
    daemon = stopped_daemon
    daemon.start(f"-importSources={base}")
    name = hash_of(TREE).hex()
    with daemon.client() as client:
        response = client.call(
            "ImageServer.ImportTree",
            ImportTreeRequest(".", tree_url=f"{base}/some/tree/{name}"),
            ImportTreeResponse,
        )
    assert (response.error, response.image_name) == ("", name)
    assert (response.tree_objects_added, response.file_objects_added) == (2, 1)
    got = daemon.imagetool("get", name, str(tmp_path / "copy"))
    assert (got.returncode, got.stderr) == (0, b"")
    assert (tmp_path / "copy" / "link").readlink() == Path("file")
    assert (tmp_path / "copy" / "file").read_bytes() == FILE
    audit = (daemon.images / ".audit.jsonl").read_text()
    assert f'"ImageServer.ImportTree", "subject": "{base}/some/tree/{name}' in audit
