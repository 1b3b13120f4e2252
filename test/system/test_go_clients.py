"""Clients in Go, as they exist, against the real daemon: calls in gob."""

from __future__ import annotations

import pytest
from golang.srpcpeer import take_steps
from processes import Daemon

pytestmark = pytest.mark.system

NEWEST = ["-newestTLS=1.2", "-newestTLS=1.3"]
WAYS = {"in band": (), "whole connection": ("-requireTLS",)}
STAY = "-upgrade=false"
DENIED = "error access to method denied"

SESSION = {
    "ping": "ok",
    "check-image dir/image": "ok false",
    "make-directory dir": "ok",
    "make-directory none/dir": "error no metadata for: none",
    "call Nobody.Nothing": "error unknown service: Nobody",
    "call ImageServer.Nothing": "error ImageServer: unknown method: Nothing",
    "call bad": "error malformed Service.Method: bad",
    "add-image dir/image passwd motd": "error 2 objects are not available",
    "add-objects passwd motd passwd": "ok true true false",
    "check-objects motd nothing passwd": "ok 4 0 6",
    "add-image dir/image passwd motd ": "ok",
    "add-image dir/image passwd": "error image already exists",
    "get-objects passwd motd": "ok 2",
    "get-image dir/image": "ok passwd motd",
    "get-image dir/none": "ok none",
    "check-image dir/image ": "ok true",
    "list-images": "ok dir/image",
    "list-selected dir/": "ok dir/image",
    "list-selected nowhere": "ok",
    "list-directories": "ok . dir",
    "delete-image dir/none": "error image does not exist",
    "delete-image dir/image": "ok",
    "ping ": "ok",
}
"""What an administrator does, and what comes of it."""


@pytest.fixture
def go(srpcpeer, stopped_daemon: Daemon):
    """Start the daemon with flags, and let a client take steps."""

    def run(steps, *flags: str, users=("admin",), daemon_flags=()) -> list[str]:
        daemon = stopped_daemon
        if daemon.process is None:
            daemon.start(*daemon_flags)
        folders = [daemon.certificates.of(user) for user in users]
        return take_steps(srpcpeer, daemon.port, steps, *flags, certificates=folders)

    yield run
    assert stopped_daemon.stop() == 0
    log = stopped_daemon.log_bytes()
    assert b"Traceback" not in log
    assert b"critical" not in log


@pytest.mark.parametrize("newest", NEWEST)
@pytest.mark.parametrize("way", WAYS)
def test_session(go, way, newest) -> None:
    """All kinds of calls work, one after the other, and refusals do no harm."""
    said = go(SESSION, STAY, newest, daemon_flags=WAYS[way])
    assert said == ["ok TLS gob", *SESSION.values()]


def test_insecure_mode(go, tmp_path) -> None:
    """Without a CA, clients with a certificate come unsecured, and may do all."""
    flags = ("-permitInsecureMode", f"-CAfile={tmp_path / 'none'}")
    said = go(SESSION, STAY, daemon_flags=flags)
    assert said == ["ok plain gob", *SESSION.values()]
    assert go(["list-directories"], STAY, users=()) == ["ok plain gob", "ok . dir"]


def test_several_certificates(go) -> None:
    """The client shows the certificate whose issuer the server names."""
    steps = ["make-directory dir"]
    assert go(steps, STAY, users=("stranger", "admin")) == ["ok TLS gob", "ok"]


@pytest.mark.parametrize(
    ("users", "text"), [((), "missing certificate"), (("stranger",), "tls: ")]
)
def test_without_a_good_certificate(go, users, text) -> None:
    """Without a certificate, or with a foreign one, nothing can be called."""
    *_, last = go(["list-images"], "-newestTLS=1.2", STAY, users=users)
    assert last.startswith("error ")
    assert text in last


def test_foreign_certificate_behind_tls(go) -> None:
    """Where the whole connection is TLS, a foreign certificate is refused with 401."""
    said = go([], STAY, users=("stranger",), daemon_flags=("-requireTLS",))
    assert said[0] == "error bad certificate"


def test_user_without_methods(go) -> None:
    """Who has a certificate only may call what is public, and nothing else."""
    steps = ["list-images", "make-directory dir", "add-objects x", "ping"]
    expected = ["ok TLS gob", "ok", DENIED, DENIED, "ok"]
    assert go(steps, STAY, users=("nobody",)) == expected


def test_without_powers(go) -> None:
    """An administrator who leaves the powers off is a user like others."""
    steps = ["list-images", "make-directory dir", "check-objects x", "ping"]
    expected = ["ok TLS gob", "ok", DENIED, DENIED, "ok"]
    assert go(steps, "-powers=false", STAY) == expected


def test_unauthenticated_reads(go) -> None:
    """Where reading needs no certificate, it goes unsecured; writing does not."""
    steps = ["list-images", "check-objects x", "make-directory dir", "ping"]
    flags = ("-allowUnauthenticatedReads",)
    expected = ["ok plain gob", "ok", "ok 0", DENIED, "ok"]
    assert go(steps, STAY, users=(), daemon_flags=flags) == expected


def test_many_objects(go) -> None:
    """Answers are read while more is sent, in both directions."""
    words = " ".join(f"word-{number}" for number in range(2_000))
    _, added, got = go([f"add-objects {words}", f"get-objects {words}"], STAY)
    assert added.count("true") == 2_000
    assert got == "ok 2000"


def test_by_itself(go) -> None:
    """A client that does whatever clients do by themselves gets what it wants."""
    connected, *said = go(SESSION)
    assert connected in ("ok TLS gob", "ok Unix gob")
    assert said == list(SESSION.values())
