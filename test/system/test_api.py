"""The examples of the API's documentation, against a real daemon."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import Daemon

pytestmark = pytest.mark.system

PAGE = Path(__file__).parents[2] / "docs/api.md"
RUN_TWISTED = """
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

blockingCallFromThread(
    server.reactor, lambda: Deferred.fromCoroutine(main(server.reactor))
)
server.close()
"""
BLOCKS = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_examples(daemon: Daemon, tmp_path: Path) -> None:
    """All examples of the page run, one after the other, and do what they say."""
    (tmp_path / "tree/etc").mkdir(parents=True)
    (tmp_path / "tree/etc/passwd").write_text("root:x:0:0\n")
    (tmp_path / "certificates").symlink_to(daemon.certificates.of("admin"))
    (tmp_path / "CA.pem").symlink_to(daemon.certificates.ca_file)
    first, *others = BLOCKS.findall(PAGE.read_text())
    # The first example ends the connection; the others go on with a new one.
    again = 'server = BlockingServer("imageserver.example", access=access)\n'
    script = "\n".join([first, again, *others, RUN_TWISTED])
    script = script.replace('"imageserver.example"', f'"localhost", {daemon.port}')
    (tmp_path / "examples.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "examples.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for target in ("copy", "second"):
        assert (tmp_path / target / "etc/passwd").read_text() == "root:x:0:0\n"
    lines = done.stdout.splitlines()
    assert lines[0] == "image: base/1 not found"
    assert lines[1] == "['base/2']"


STREAMING = """
import sys
from pathlib import Path
from imageserver.client.blocking import BlockingServer
from imageserver.client.server import Access
from imageserver.errors import CallError, ConnectionFailed

port, folder = int(sys.argv[1]), Path(sys.argv[2])
access = Access(certificates=folder)
with BlockingServer("127.0.0.1", port, access) as server:
    content = bytes(range(256)) * 100_000
    (hash_,) = server.add_contents([content])
    assert b"".join(server.stream_object(hash_)) == content
    begun = server.stream_object(hash_)
    next(begun)
    begun.close()  # whoever has seen enough
    assert b"".join(server.stream_object(hash_)) == content
    try:
        list(server.stream_object(bytes(64)))
    except CallError as error:
        print(error)
try:
    BlockingServer("127.0.0.1", 1, access).__enter__()
except ConnectionFailed as error:
    print(error)
"""


def test_streaming(daemon: Daemon, tmp_path: Path) -> None:
    """Objects come in pieces, whoever reads them, and however far; errors come, too."""
    (tmp_path / "script.py").write_text(STREAMING)
    folder = daemon.certificates.of("admin")
    done = subprocess.run(
        [sys.executable, "script.py", str(daemon.port), folder],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"unknown object: {bytes(64).hex()}",
        "127.0.0.1:1: connection refused",
    ]
