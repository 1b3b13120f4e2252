"""Clients in Go, as they exist, against the real daemon: calls in JSON.

Their decoders read ahead, and lose what they have read at the end of a call; where a
value fills their buffer, its newline stays behind and looks like a line of its own.
Nobody must get out of step.
"""

from __future__ import annotations

import json

import pytest
from golang.srpcpeer import take_steps
from processes import Daemon

pytestmark = pytest.mark.system

FLAGS = ("-coder=JSON", "-upgrade=false")
DENIED = "error access to method denied"
BUFFERS = [64, 128, 256, 512, 1024, 1536, 2048]
"""Lengths of values behind which Go's decoders leave a newline unread."""

REFUSALS = {
    "call Nobody.Nothing": "error unknown service: Nobody",
    "call ImageServer.Nothing": "error ImageServer: unknown method: Nothing",
    "ping": "ok",
    "make-directory none/dir": "error no metadata for: none",
}
"""What would be taken for something else by a client that is out of step."""


@pytest.fixture
def go(srpcpeer, stopped_daemon: Daemon):
    """Start the daemon with flags, and let a client take steps."""

    def run(steps, *flags: str, users=("admin",), daemon_flags=()) -> list[str]:
        daemon = stopped_daemon
        if daemon.process is None:
            daemon.start(*daemon_flags)
        folders = [daemon.certificates.of(user) for user in users]
        flags = (*FLAGS, *flags)
        return take_steps(srpcpeer, daemon.port, steps, *flags, certificates=folders)

    yield run
    assert stopped_daemon.stop() == 0
    assert b"Traceback" not in stopped_daemon.log_bytes()


def length_of(value: object) -> int:
    """How long it is in JSON, as Go writes it."""
    return len(json.dumps(value, separators=(",", ":")))


def name_of_length(field: str, length: int) -> str:
    """A name with which ``{field: name}`` has so many bytes in JSON."""
    rest = length - length_of({field: ""})
    return "/".join(["n" * 200] * (rest // 201) + ["n" * (rest % 201)])


@pytest.mark.parametrize("newest", ["-newestTLS=1.2", "-newestTLS=1.3"])
@pytest.mark.parametrize("daemon_flags", [(), ("-requireTLS",)])
def test_session(go, newest, daemon_flags) -> None:
    """Requests, replies and streams of values, one after the other."""
    steps = {
        "check-image dir/image": "ok false",
        "make-directory dir": "ok",
        **REFUSALS,
        "make-directory dir/sub": "ok",
        "list-directories": "ok . dir dir/sub",
        "list-selected dir": "ok",
        "list-images": "ok",
        "get-image dir/none": "ok none",
        "check-objects nothing": "ok 0",
        "delete-image dir/none": "error image does not exist",
        "ping ": "ok",
    }
    said = go(steps, newest, daemon_flags=daemon_flags)
    assert said == ["ok TLS JSON", *steps.values()]


@pytest.mark.parametrize("change", [-1, 0, 1])
def test_requests_of_critical_lengths(go, change) -> None:
    """A request that fills a buffer leaves both sides in step."""
    steps, expected = [], ["ok TLS JSON"]
    for length in BUFFERS:
        steps += ["check-image " + name_of_length("ImageName", length + change)]
        steps += REFUSALS
        expected += ["ok false", *REFUSALS.values()]
    assert go(steps) == expected


@pytest.mark.parametrize("change", [-1, 0, 1])
def test_answers_of_critical_lengths(go, change) -> None:
    """Values of a stream that fill a buffer do so, too."""
    bare = length_of({"Name": "", "Metadata": {"OwnerGroup": ""}})
    names: list[str] = []
    steps, expected = [], ["ok TLS JSON"]
    for length in (64, 128):
        names.append("n" * (length + change - bare))
        steps += ["make-directory " + names[-1], "list-directories", *REFUSALS]
        expected += ["ok", " ".join(["ok .", *sorted(names)]), *REFUSALS.values()]
    assert go(steps) == expected


def test_many_calls(go) -> None:
    """Hundreds of calls with values of every length, and not one line too many."""
    steps, expected = [], ["ok TLS JSON"]
    for length in range(1, 200):
        steps += ["check-image " + "n" * length, "call Nobody.Nothing", "ping"]
        expected += ["ok false", "error unknown service: Nobody", "ok"]
    assert go(steps) == expected


def test_access(go) -> None:
    """Access is decided as for other calls."""
    steps = ["list-images", "make-directory dir", "check-objects x", "ping"]
    expected = ["ok TLS JSON", "ok", DENIED, DENIED, "ok"]
    assert go(steps, users=("nobody",)) == expected
    assert go(steps, "-powers=false") == expected
    assert go(steps, users=())[0] == "error missing certificate"


def test_insecure_mode(go, tmp_path) -> None:
    """Without a CA, calls come unsecured."""
    flags = ("-permitInsecureMode", f"-CAfile={tmp_path / 'none'}")
    said = go(["make-directory dir", *REFUSALS, "list-directories"], daemon_flags=flags)
    assert said == ["ok plain JSON", "ok", *REFUSALS.values(), "ok . dir"]
