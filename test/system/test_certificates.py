"""The daemon's certificates: how it starts, and what it does when they change."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, load_pem_x509_certificate
from processes import Certificates, Daemon, wait_until

from imageserver.tool.authority import Authority, Validity
from imageserver.tool.revocation_list import extend_list

pytestmark = pytest.mark.system

DAY = Validity.of_days(1)


def load_certificate(path: Path) -> Certificate:
    """The certificate in a file."""
    return load_pem_x509_certificate(path.read_bytes())


def permits(daemon: Daemon, user: str, method: str = "ImageServer.ListImages") -> bool:
    """Whether somebody may call a method; ``False``: there is no connection at all."""
    try:
        with daemon.client(user) as client:
            return client.begin(method) == ""
    except (ssl.SSLError, OSError, AssertionError):
        return False


@pytest.fixture
def own(stopped_daemon: Daemon, tmp_path: Path) -> Certificates:
    """Certificates that the test may change."""
    stopped_daemon.certificates = Certificates(tmp_path / "certificates")
    return stopped_daemon.certificates


def test_reload(stopped_daemon: Daemon, own: Certificates) -> None:
    """Revoking and a new certificate take effect; who is connected stays connected."""
    daemon, lists = stopped_daemon, own.directory / "CRL.pem"
    lists.write_bytes(extend_list(own.authority, b"", [], DAY))
    daemon.start(f"-CRLfile={lists}", "-CRLstrict")
    assert permits(daemon, "nobody")
    serial = load_certificate(own.of("nobody") / "cert.pem").serial_number
    with daemon.client("nobody") as connected:
        lists.write_bytes(extend_list(own.authority, lists.read_bytes(), [serial], DAY))
        shutil.rmtree(own.of("server"))
        own.issue("server", hosts=("renewed.example.com",))
        wait_until(lambda: not permits(daemon, "nobody"))
        assert connected.begin("ImageServer.ListImages") == ""
    assert permits(daemon, "admin")
    with daemon.client() as client:
        shown = client.socket.getpeercert(binary_form=True)
    renewed = load_certificate(own.of("server") / "cert.pem")
    assert shown == renewed.public_bytes(Encoding.DER)
    for text in (
        b"the certificate of CN=nobody was revoked",
        b"certificates were loaded anew",
    ):
        wait_until(lambda text=text: text in daemon.log_bytes())
    assert b"Traceback" not in daemon.log_bytes()


def test_identity_authority(stopped_daemon: Daemon, own: Certificates) -> None:
    """The identity CA's users are known, but have no power."""
    identity = Authority.create("identity CA", DAY)
    path = own.directory / "IdentityCA.pem"
    path.write_bytes(identity.pair.certificate)
    own.issue("guest", authority=identity, methods=("*.*",))
    stopped_daemon.start(f"-identityCAfile={path}")
    power = "ImageServer.MakeDirectory"
    assert permits(stopped_daemon, "admin", power)
    assert permits(stopped_daemon, "guest")
    assert not permits(stopped_daemon, "guest", power)
    assert not permits(stopped_daemon, "stranger")


def test_generatedload_certificate(stopped_daemon: Daemon, own: Certificates) -> None:
    """A server without a certificate makes one up, if it may; clients take it."""
    shutil.rmtree(own.of("server"))
    stopped_daemon.start("-generateMissingWebcert")
    assert permits(stopped_daemon, "admin")
    assert not permits(stopped_daemon, "stranger")


def test_insecure(stopped_daemon: Daemon, own: Certificates) -> None:
    """Insecure mode needs no certificate, says so, and has no TLS."""
    shutil.rmtree(own.of("server"))
    stopped_daemon.start("-CAfile=/nonexistent/CA.pem", "-permitInsecureMode")
    wait_until(lambda: b"*** insecure mode" in stopped_daemon.log_bytes())
    with stopped_daemon.client(None) as client:
        assert client.begin("ImageServer.MakeDirectory") == ""
    with stopped_daemon.client("admin") as client:
        assert client.greeting.startswith(b"HTTP/1.0 404 ")


def test_imagetool_verifies(daemon: Daemon) -> None:
    """Imagetool turns away from a server that its CA file does not vouch for."""
    certificates = daemon.certificates
    done = daemon.imagetool(f"-serverCAfile={certificates.ca_file}", "list")
    assert (done.returncode, done.stderr) == (0, b"")
    foreign = certificates.of("stranger") / "cert.pem"
    for user in ("admin", "missing"):
        done = daemon.imagetool(f"-serverCAfile={foreign}", "list", user=user)
        assert done.returncode == 1
        assert b"certificate verify failed" in done.stderr
