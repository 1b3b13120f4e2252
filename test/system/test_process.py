"""The daemon as a process: how it starts, what it says, how it stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from processes import Certificates, Daemon, wait_until

from imageserver import gob
from imageserver.model.image_messages import GetImageRequest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


def run(command: list[str]) -> tuple[int, str]:
    """Exit code and standard error of a command that ends by itself."""
    done = subprocess.run(command, check=False, capture_output=True, timeout=60)
    return done.returncode, done.stderr.decode()


def test_pages(daemon: Daemon) -> None:
    """Health, readiness, the status page, and methods answer on the same port."""
    assert daemon.get("/healthz").endswith(b"OK")
    assert b" 404 " in daemon.get("/nothing").splitlines()[0]
    page = daemon.get("/")
    assert b"imageserver status page" in page
    assert b"Nothing needs attention" in page
    assert b"Content-Security-Policy: default-src 'none'" in page
    assert b"ObjectServer.GetObjects" in daemon.get("/_goSRPC_/listMethods")
    assert b"GetObjects" not in daemon.get("/_goSRPC_/listPublicMethods")
    head, _, body = daemon.exchange(b"GET /?output=json HTTP/1.0\n\n").partition(
        b"\r\n\r\n"
    )
    assert b" 200 " in head.splitlines()[0]
    assert json.loads(body)["images"] == 0
    connected = daemon.exchange(b"CONNECT /_goSRPC_/getHostname HTTP/1.0\n\n")
    assert b" 200 " in connected.splitlines()[0]


def test_bodies_are_refused(daemon: Daemon) -> None:
    """Nobody can make the server keep what it has no use for."""
    head = b"POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n"
    assert daemon.exchange(head + b"x" * 100_000)[:12] in (b"HTTP/1.1 413", b"")
    assert daemon.get("/healthz").endswith(b"OK")


def test_insecure_mode(stopped_daemon: Daemon) -> None:
    """Without a CA, and if permitted, everything works unsecured, with a warning."""
    stopped_daemon.start("-CAfile=", "-permitInsecureMode")
    assert b"insecure mode" in stopped_daemon.get("/")
    wait_until(lambda: b"insecure mode" in stopped_daemon.log_bytes())
    with stopped_daemon.client(None) as client:
        assert client.greeting == b"HTTP/1.0 200 Connected to Go SRPC\n\n"
        assert client.begin("ImageServer.ListImages") == ""
        assert client.line() == ""
    assert stopped_daemon.imagetool("mkdir", "dir", user="missing").returncode == 0
    connect = b"CONNECT /_go_TLS_SRPC_/ HTTP/1.0\n\n"
    assert stopped_daemon.exchange(connect).startswith(b"HTTP/1.0 404 ")


def test_unauthenticated_reads(stopped_daemon: Daemon) -> None:
    """With the flag, reading needs no certificate, and writing still does."""
    stopped_daemon.start("-allowUnauthenticatedReads")
    with stopped_daemon.client(None) as client:
        assert client.begin("ImageServer.ListImages") == ""
        assert client.line() == ""
        assert client.begin("ImageServer.MakeDirectory") == "access to method denied"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly(daemon: Daemon, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end it with code 0, also with a call going on."""
    with daemon.client() as client:
        assert client.begin("ObjectServer.AddObjects") == ""
        assert daemon.process is not None
        daemon.process.send_signal(number)
        assert daemon.process.wait(30) == 0
    assert b"stopped" in daemon.log_bytes()
    assert b"Traceback" not in daemon.log_bytes()


def test_command_line(stopped_daemon: Daemon) -> None:
    """Help, version, and mistakes have their texts and exit codes."""
    program = [sys.executable, "-m", "imageserver.daemon"]
    done = subprocess.run([*program, "-h"], check=True, capture_output=True)
    assert b"-imageDir" in done.stdout
    done = subprocess.run([*program, "-version"], check=True, capture_output=True)
    assert done.stdout.startswith(b"imageserver ")
    code, text = run([*program, "-nonsense"])
    assert code == 2
    assert text.startswith("flag provided but not defined: -nonsense\n")
    assert run([*program, "word"])[0] == 2
    missing = stopped_daemon.command("-imageDir=/nonexistent")
    assert run(missing) == (
        1,
        "imageserver: no directory /nonexistent: make it, or use -imageDir\n",
    )
    for flag, text in (
        ("-CAfile=/nonexistent", "imageserver: missing CA: /nonexistent"),
        ("-certFile=/nonexistent", "imageserver: missing certificate: /nonexistent"),
    ):
        code, error = run(stopped_daemon.command(flag))
        last = error.splitlines()[-1]
        assert (code, last.startswith(text)) == (1, True), error


def test_port_in_use(stopped_daemon: Daemon) -> None:
    """A port that is taken is a clear error, before any data is touched."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, error = run(stopped_daemon.command(f"-portNum={port}"))
    assert code == 1
    assert f"cannot listen on port {port}" in error
    assert list(stopped_daemon.images.iterdir()) == []


def test_directories_are_not_shared(daemon: Daemon) -> None:
    """A second daemon on the same directories is refused; the first one goes on."""
    code, error = run(daemon.command())
    assert code == 1
    assert error.splitlines()[-1].startswith("imageserver: another imageserver uses ")
    assert daemon.get("/readiness").endswith(b"OK")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root(tmp_path: Path, certificates: Certificates) -> None:
    """Root is refused, unless it is permitted or becomes another user."""
    daemon = Daemon(tmp_path / "daemon", certificates)
    command = [flag for flag in daemon.command() if flag != "-permitRoot"]
    code, error = run(command)
    assert code == 1
    assert "Do not run the Image Server as root" in error
    code, error = run([*command, "-username=root"])
    assert code == 1
    assert "root is root: use -permitRoot" in error
    for directory in (daemon.images, daemon.objects):
        os.chown(directory, 65534, 65534)
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() == "root" and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    try:
        daemon.start(command=[*command, "-username=nobody"])
        assert daemon.process is not None
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        assert "Uid:\t65534\t65534\t65534\t65534" in status
        assert daemon.imagetool("mkdir", "dir").returncode == 0
        assert (daemon.images / "dir").owner() == "nobody"
    finally:
        daemon.kill()


def test_twistd(stopped_daemon: Daemon) -> None:
    """``twistd`` lists the plugin, and runs it with the same flags."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "--help",
        ],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    assert b"imageserver" in done.stdout
    launcher = [
        sys.executable,
        "-c",
        "from twisted.scripts.twistd import run; run()",
        "-n",
        f"--pidfile={stopped_daemon.root / 'twistd.pid'}",
        "imageserver",
    ]
    logs = stopped_daemon.root / "logs"
    flags = stopped_daemon.command(f"-logDir={logs}")[3:]
    stopped_daemon.start(command=launcher + flags)
    assert stopped_daemon.imagetool("mkdir", "dir").returncode == 0
    # twistd stops everything, then ends itself by the signal that it got.
    assert stopped_daemon.stop() == -signal.SIGTERM
    assert b"stopped" in stopped_daemon.log_bytes()
    assert " stopped\n" in (logs / "latest").read_text()
    code, error = run([*launcher, "-nonsense"])
    assert code == 2
    assert "flag provided but not defined: -nonsense" in error


def test_init_script_runs_it(stopped_daemon: Daemon, tmp_path: Path) -> None:
    """The init script starts the real daemon, and stops it."""
    wrapper = tmp_path / "imageserver"
    words = [word for word in stopped_daemon.command() if word != "-logDir="]
    command = " ".join(f"'{word}'" for word in words)
    wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    user = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
    defaults = tmp_path / "defaults"
    defaults.write_text(
        f"DAEMON={wrapper}\nUSERNAME={user}\nLOG_DIR={tmp_path / 'log'}\n"
        f"PIDFILE={tmp_path / 'pid'}\nLOOP_PIDFILE={tmp_path / 'loop.pid'}\n"
        f"IMAGE_DIR={stopped_daemon.images}\n"
    )
    environment = os.environ | {"IMAGESERVER_DEFAULTS": str(defaults)}

    def act(action: str) -> int:
        script = str(ROOT / "init.d/imageserver")
        done = subprocess.run(
            ["sh", script, action],
            check=False,
            env=environment,
            capture_output=True,
            timeout=60,
        )
        return done.returncode

    assert act("start") == 0
    try:
        log = tmp_path / "log" / "latest"
        wait_until(lambda: log.exists() and b"ready" in log.read_bytes())
        assert act("status") == 0
    finally:
        assert act("stop") == 0
    assert b"stopped" in log.read_bytes()
    assert (tmp_path / "log" / "imageserver.log").read_bytes() == b""
    assert act("status") == 3


def test_stops_while_clients_wait(daemon: Daemon) -> None:
    """A client that waits for an image does not keep the daemon from stopping."""
    request = GetImageRequest("name", timeout_ns=3_600 * 1_000_000_000)
    with daemon.client() as client:
        assert client.begin("ImageServer.GetImage") == ""
        client.send(gob.Encoder().encode(request))
        wait_until(lambda: b'"running_calls": 1' in daemon.get("/?output=json"))
        assert daemon.stop() == 0
