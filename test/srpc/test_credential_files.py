"""What is made of the files of certificates, and when."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import attrs
import pytest
from cryptography import x509
from srpc.peers import (
    YEAR,
    GatedWorker,
    Link,
    Outer,
    Recorder,
    authority,
    server_pair,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent, globalLogPublisher

from imageserver.errors import CertificateError, KeyMismatch
from imageserver.srpc import credential_watch as watching
from imageserver.srpc.access import Identity
from imageserver.srpc.channel import Channel
from imageserver.srpc.credential_files import CredentialFiles, Credentials
from imageserver.srpc.credential_watch import CredentialWatch
from imageserver.srpc.deadlines import Deadlines
from imageserver.srpc.expiry import (
    AUTHORITY,
    IDENTITY_AUTHORITY,
    Expiry,
    expiry_metrics,
)
from imageserver.srpc.metric import MetricRegistry
from imageserver.srpc.tls import ServerTLS, peer_identity
from imageserver.srpc.trust import Trust
from imageserver.testing import InlineWorker
from imageserver.tool.authority import Authority, Validity
from imageserver.tool.revocation_list import extend_list

ROOT, OTHER = Authority.create("root", YEAR), Authority.create("other", YEAR)
SERVER = ROOT.issue("server", YEAR)


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    """Good ones, without revocation lists and identity CA."""
    (tmp_path / "cert.pem").write_bytes(SERVER.certificate)
    (tmp_path / "key.pem").write_bytes(SERVER.key)
    (tmp_path / "CA.pem").write_bytes(ROOT.pair.certificate)
    return CredentialFiles(
        tmp_path / "cert.pem",
        tmp_path / "key.pem",
        tmp_path / "CA.pem",
        tmp_path / "IdentityCA.pem",
    )


@pytest.fixture
def lists(files: CredentialFiles, tmp_path: Path) -> CredentialFiles:
    """The same with a revocation list."""
    with_lists = CredentialFiles(
        files.certificate, files.key, files.authorities, None, tmp_path / "CRL.pem"
    )
    (tmp_path / "CRL.pem").write_bytes(extend_list(ROOT, b"", [5], YEAR))
    return with_lists


def user_of(credentials: Credentials, issuer: Authority) -> Identity:
    """What a certificate of ``issuer`` would make of its holder."""
    assert credentials.server_tls is not None
    pair = issuer.issue("alice", YEAR, methods=["*.*"])
    sent = x509.load_pem_x509_certificates(pair.certificate)
    return credentials.server_tls.trust.identify(
        sent, datetime.datetime.now(datetime.UTC)
    )


class TestStart:
    """The first time, whatever cannot be used is an error."""

    def test_good(self, files: CredentialFiles) -> None:
        """The identity CA may be missing; methods come from the CA."""
        found = files.load()
        assert user_of(found, ROOT).methods == ("*.*",)
        with pytest.raises(CertificateError):
            user_of(found, OTHER)
        assert [expiry.kind for expiry in found.expiries] == ["certificate", "CA"]

    def test_identity(self, files: CredentialFiles) -> None:
        """An identity CA gives names only."""
        assert files.identity_authorities is not None
        files.identity_authorities.write_bytes(OTHER.pair.certificate)
        found = files.load()
        assert user_of(found, OTHER) == Identity("alice")
        assert user_of(found, ROOT).methods == ("*.*",)

    @pytest.mark.parametrize("name", ["certificate", "key"])
    @pytest.mark.parametrize("empty", [False, True])
    def test_missing_certificate(self, files, name: str, empty: bool) -> None:
        """A missing or empty one is an error that names it."""
        path = getattr(files, name)
        path.unlink()
        if empty:
            path.touch()
        with pytest.raises(CertificateError, match=f"missing certificate: {path}"):
            files.load()

    @pytest.mark.parametrize("name", ["certificate", "key", "authorities"])
    def test_unparsable(self, files: CredentialFiles, name: str) -> None:
        """What is there but makes no sense is an error, whatever may be made up."""
        getattr(files, name).write_bytes(b"nonsense")
        for generate in (False, True):
            with pytest.raises(CertificateError, match=str(getattr(files, name))):
                attrs.evolve(files, generate=generate).load()

    def test_unparsable_identity(self, files: CredentialFiles) -> None:
        """The same for the identity CA."""
        assert files.identity_authorities is not None
        files.identity_authorities.write_bytes(b"nonsense")
        with pytest.raises(CertificateError, match="IdentityCA"):
            files.load()

    def test_empty_authorities(self, files: CredentialFiles) -> None:
        """An empty CA file means TLS, and nobody gets in."""
        assert files.authorities is not None
        files.authorities.write_bytes(b"")
        with pytest.raises(CertificateError):
            user_of(files.load(), ROOT)

    def test_expired(self, files: CredentialFiles) -> None:
        """An expired certificate does not keep the server from starting."""
        pair = ROOT.issue("server", Validity.of_days(-1))
        files.certificate.write_bytes(pair.certificate)
        files.key.write_bytes(pair.key)
        assert user_of(files.load(), ROOT).user == "alice"

    def test_insecure(self, files: CredentialFiles) -> None:
        """Without CA file there is no TLS; a certificate is for calling others."""
        insecure = attrs.evolve(files, authorities=None)
        found = insecure.load()
        assert (found.server_tls, found.key_pair is None) == (None, False)
        files.key.unlink()
        assert insecure.load().key_pair is None

    def test_generated(self, files: CredentialFiles) -> None:
        """A made-up certificate: Ed25519, 30 years, for servers; kept when reloading.

        It is no certificate to show to others, and gives way to a real one.
        """
        files.key.rename(files.key.with_name("later"))
        generating = attrs.evolve(files, generate=True)
        found = generating.load()
        assert found.generated
        assert found.key_pair is not None
        leaf = found.key_pair.certificates[0]
        assert leaf.serial_number == 1
        assert leaf.subject.rfc4514_string() == ""
        lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        assert lifetime.days == 30 * 365
        assert user_of(found, ROOT).user == "alice"
        assert generating.load(found).key_pair is found.key_pair
        files.key.with_name("later").rename(files.key)
        assert not generating.load(found).generated

    @pytest.mark.parametrize("generated", [False, True])
    def test_calling_others(self, files: CredentialFiles, generated: bool) -> None:
        """Our certificate is for calling other servers, too, but not a made-up one."""
        if generated:
            files.key.unlink()
        found = attrs.evolve(files, generate=True).load()
        channel = Channel(Clock(), Deadlines())
        client = Outer(Recorder(), found.client_tls([authority().certificate]))
        tls = ServerTLS(server_pair(), Trust([ROOT.certificate]))
        Link(channel.clock, Outer(channel, tls), client).pump()
        assert channel.lost == generated
        if not generated:
            assert peer_identity(channel.transport).user == "server"

    def test_mismatch(self, files: CredentialFiles) -> None:
        """A key of another certificate is an error of its own."""
        files.key.write_bytes(ROOT.issue("x", YEAR).key)
        with pytest.raises(KeyMismatch):
            files.load()

    def test_lists(self, lists: CredentialFiles) -> None:
        """Revocation lists are read; a missing or forged one is an error."""
        assert [e.kind for e in lists.load().expiries] == ["certificate", "CA", "CRL"]
        assert lists.revocations is not None
        impostor = Authority.create("root", YEAR)
        lists.revocations.write_bytes(extend_list(impostor, b"", [5], YEAR))
        with pytest.raises(CertificateError, match="has not signed"):
            lists.load()
        lists.revocations.unlink()
        with pytest.raises(CertificateError, match=r"cannot read .*CRL"):
            lists.load()

    def test_list_of_nobody(self, lists: CredentialFiles) -> None:
        """A list of an unknown authority may be that of an intermediate: a warning."""
        assert lists.revocations is not None
        lists.revocations.write_bytes(extend_list(OTHER, b"", [5], YEAR))
        with capturedLogs() as log:
            assert user_of(lists.load(), ROOT).user == "alice"
        (text,) = map(formatEvent, log)
        assert "a list by CN=other, which is not among the CAs" in text

    def test_expiry_of_lists(self, lists: CredentialFiles) -> None:
        """Of several lists of an issuer the one that lasts longest counts."""
        assert lists.revocations is not None
        days = [extend_list(ROOT, b"", [], Validity.of_days(n)) for n in (3, 9, -2)]
        lists.revocations.write_bytes(b"".join(days))
        (expiry,) = [e for e in lists.load().expiries if e.kind == "CRL"]
        assert 8 < expiry.days_left(datetime.datetime.now(datetime.UTC)) < 10


class Watched:
    """A watch, its clock, and what it has said."""

    def __init__(self, files: CredentialFiles) -> None:
        self.clock = Clock()
        self.clock.advance(datetime.datetime.now(datetime.UTC).timestamp())
        self.files = files
        self.used: list[Credentials] = []
        self.log: list[dict] = []
        self.watch = CredentialWatch(
            self.clock, InlineWorker(), files, self.used.append
        )

    def wait(self, seconds: float = watching.LOOK_INTERVAL_S) -> None:
        """Let time pass, second by second."""
        for _ in range(int(seconds)):
            self.clock.advance(1)

    def settle(self) -> None:
        """As long as it takes until a change is in use."""
        self.wait(watching.LOOK_INTERVAL_S + watching.SETTLE_S)

    @property
    def texts(self) -> list[str]:
        """What was logged as a warning or worse."""
        severe = (LogLevel.warn, LogLevel.error, LogLevel.critical)
        return [formatEvent(e) for e in self.log if e["log_level"] in severe]


@pytest.fixture
def watched(lists: CredentialFiles):
    """A watch that has begun."""
    found = Watched(lists)
    globalLogPublisher.addObserver(found.log.append)
    found.watch.startService()
    yield found
    found.watch.stopService()
    globalLogPublisher.removeObserver(found.log.append)
    assert found.clock.getDelayedCalls() == []


def replace(path: Path, content: bytes) -> None:
    """As programs do that care: another file under the same name."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.rename(path)


class TestChanges:
    """Files that change while the server runs."""

    def test_nothing_changes(self, watched: Watched) -> None:
        """Then nothing is loaded."""
        watched.wait(100)
        assert (watched.used, watched.watch.problem, watched.texts) == ([], "", [])

    def test_authorities(self, watched: Watched) -> None:
        """A new CA counts within seconds, the old one no more."""
        replace(watched.files.authorities, OTHER.pair.certificate)
        replace(watched.files.revocations, extend_list(OTHER, b"", [], YEAR))
        watched.settle()
        assert len(watched.used) == 1
        assert watched.used[0] is watched.watch.current
        assert user_of(watched.watch.current, OTHER).user == "alice"
        with pytest.raises(CertificateError):
            user_of(watched.watch.current, ROOT)
        watched.wait(100)
        assert len(watched.used) == 1

    @pytest.mark.parametrize("in_place", [False, True])
    def test_same_size_and_time(self, watched: Watched, in_place: bool) -> None:
        """A change shows even if size and time of modification stay."""
        path = watched.files.revocations
        old = path.stat()
        content = extend_list(ROOT, b"", [6], YEAR)
        while len(content) != old.st_size:  # ECDSA signatures vary in length
            content = extend_list(ROOT, b"", [6], YEAR)
        if in_place:
            path.write_bytes(content)
        else:
            replace(path, content)
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        watched.settle()
        assert len(watched.used) == 1

    def test_half_written(self, watched: Watched) -> None:
        """A file is not read while it still grows."""
        path = watched.files.authorities
        pem = ROOT.pair.certificate + OTHER.pair.certificate
        path.write_bytes(b"")
        watched.wait()
        path.write_bytes(pem[: len(pem) // 2])  # a good certificate, and a part
        watched.wait(1)
        assert (watched.used, watched.texts) == ([], [])
        path.write_bytes(pem)
        watched.wait(2)
        assert len(watched.used) == 1
        assert user_of(watched.used[0], OTHER).user == "alice"

    @pytest.mark.parametrize(
        "name", ["certificate", "key", "authorities", "revocations"]
    )
    @pytest.mark.parametrize("content", [b"nonsense", None])
    def test_bad_file(self, watched: Watched, name: str, content) -> None:
        """A bad or missing file keeps the old ones, is told once, and mends."""
        path, before = getattr(watched.files, name), watched.watch.current
        good = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        watched.settle()
        assert watched.watch.current is before
        assert str(path) in watched.watch.problem
        watched.wait(100)
        (text,) = watched.texts
        assert "the old ones stay in use" in text
        path.write_bytes(good)
        watched.settle()
        assert watched.watch.problem == ""
        assert len(watched.used) == 1

    def test_one_after_the_other(self, watched: Watched) -> None:
        """A certificate may come some time before its key."""
        pair = ROOT.issue("server", YEAR)
        replace(watched.files.certificate, pair.certificate)
        watched.wait(watching.PATIENCE_S - 1)
        assert (watched.used, watched.watch.problem, watched.texts) == ([], "", [])
        replace(watched.files.key, pair.key)
        watched.settle()
        assert (len(watched.used), watched.watch.problem, watched.texts) == (1, "", [])

    def test_key_never_comes(self, watched: Watched) -> None:
        """If it does not come at all, somebody is told, once."""
        replace(watched.files.certificate, ROOT.issue("server", YEAR).certificate)
        watched.wait(3 * watching.PATIENCE_S)
        assert "is not the key of" in watched.watch.problem
        assert len(watched.texts) == 1
        replace(watched.files.certificate, SERVER.certificate)
        watched.settle()
        assert watched.watch.problem == ""

    @pytest.mark.parametrize("days", [-1, 1])
    def test_not_valid(self, watched: Watched, days: int) -> None:
        """A certificate that is not valid now replaces none that is."""
        begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        end = begin + datetime.timedelta(hours=1)
        pair = ROOT.issue("server", Validity(begin, end))
        replace(watched.files.certificate, pair.certificate)
        replace(watched.files.key, pair.key)
        watched.settle()
        assert watched.used == []
        assert "the new certificate" in watched.watch.problem

    def test_not_valid_at_start(self, lists: CredentialFiles) -> None:
        """At the start such a certificate is used, and that is logged."""
        begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
        pair = ROOT.issue("server", Validity(begin, begin + datetime.timedelta(1)))
        lists.certificate.write_bytes(pair.certificate)
        lists.key.write_bytes(pair.key)
        found = Watched(lists)
        with capturedLogs() as log:
            found.watch.startService()
        found.watch.stopService()
        (text,) = map(formatEvent, log)
        assert "certificate CN=server" in text
        assert "is not valid yet" in text

    def test_never_insecure(self, watched: Watched) -> None:
        """Taking the CA file away does not open the server."""
        watched.files.authorities.unlink()
        watched.wait(100)
        assert watched.used == []
        assert watched.watch.current.server_tls is not None

    def test_reload(self, watched: Watched) -> None:
        """Asked to, it reads the files at once, changed or not."""
        done = Deferred.fromCoroutine(watched.watch.reload())
        assert done.called
        assert len(watched.used) == 1
        watched.wait(100)
        assert len(watched.used) == 1

    def test_stop(self, lists: CredentialFiles) -> None:
        """Nothing goes on behind the end, not even if work was in hand."""
        clock, worker = Clock(), GatedWorker()
        watch = CredentialWatch(clock, worker, lists, lambda _: None)
        watch.startService()
        clock.advance(watching.LOOK_INTERVAL_S)
        stopped = watch.stopService()
        assert not stopped.called
        worker.release()
        assert stopped.called
        assert clock.getDelayedCalls() == []


class TestExpiry:
    """What is going to expire."""

    def test_warnings(self, watched: Watched) -> None:
        """30, 7 and 1 days before the end and behind it, each thing once."""
        day_s = 86_400
        expiry = watched.watch.current.expiries[0]
        told: list[str] = []
        for days_left in (31, 29, 28, 6, 5, 0.9, 0.5, -0.1, -1):
            goal_s = expiry.ends.timestamp() - days_left * day_s
            watched.clock.advance(goal_s - watched.clock.seconds())
            watched.wait()
            new = [text for text in watched.texts if "certificate CN=server" in text]
            told += [f"{days_left}: {text}" for text in new[len(told) :]]
        assert [text.partition(":")[0] for text in told] == ["29", "6", "0.9", "-0.1"]
        assert "expires at" in told[0]
        assert "has expired at" in told[3]
        for subject in ("CA CN=root", "CRL CN=root"):
            assert any(subject in text for text in watched.texts)

    def test_after_renewal(self, watched: Watched) -> None:
        """A renewed certificate is warned of anew, when its time comes."""
        pair = ROOT.issue("server", Validity.of_days(20))
        replace(watched.files.certificate, pair.certificate)
        replace(watched.files.key, pair.key)
        watched.settle()
        assert watched.texts == []  # half of its time is still to come
        watched.clock.advance(14 * 86_400)
        watched.wait()
        assert len(watched.texts) == 1

    def test_days(self) -> None:
        """Days left, and the stage that they are in."""
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

        def stage(days_left: float, lifetime: float) -> int | None:
            end = now + datetime.timedelta(days=days_left)
            begin = end - datetime.timedelta(days=lifetime)
            expiry = Expiry("CA", "f", "s", begin, end)
            assert abs(expiry.days_left(now) - days_left) < 1e-9
            return expiry.stage(now)

        assert [stage(d, 365) for d in (31, 30, 8, 7, 2, 1, 0.1, -0.1)] == [
            *(None, 30, 30, 7, 7, 1, 1, 0)
        ]
        assert [stage(d, 30) for d in (29, 15, 7, 1, -1)] == [None, None, 7, 1, 0]
        assert [stage(d, 1) for d in (0.9, 0.1, -0.1)] == [None, None, 0]

    def test_metrics(self, watched: Watched) -> None:
        """The next ends are metrics, under the names that existing tools ask for."""
        registry = MetricRegistry()
        registry.add(watched.watch.metrics)
        found = {metric.path: metric.value for metric in registry}
        certificate, authority, lists = watched.watch.current.expiries
        assert found == {
            "/srpc/server/earliest-certificate-expiration": certificate.ends,
            "/srpc/server/earliest-expiring-certificate-activation": certificate.begins,
            "/srpc/server/earliest-ca-expiration": authority.ends,
            "/srpc/server/earliest-crl-expiration": lists.ends,
            "/srpc/server/certificates-outdated": 0,
        }
        watched.files.certificate.unlink()
        watched.settle()
        assert {m.path: m.value for m in registry} == found | {
            "/srpc/server/certificates-outdated": 1
        }

    def test_earliest(self) -> None:
        """Of several the one that ends first counts, CAs of both files alike."""
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        ends = [now + datetime.timedelta(days=days) for days in (5, 3, 4)]
        kinds = (AUTHORITY, IDENTITY_AUTHORITY, AUTHORITY)
        expiries = [
            Expiry(kind, "f", "s", now, end)
            for kind, end in zip(kinds, ends, strict=True)
        ]
        (metric,) = expiry_metrics(expiries)
        assert metric.value == ends[1]
