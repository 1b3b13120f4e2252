"""TLS: who gets in, and as whom."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from OpenSSL import SSL
from srpc.peers import (
    YEAR,
    Link,
    Outer,
    Recorder,
    authority,
    key_pair,
    make_server,
    server_pair,
    server_tls,
    user_pair,
)
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from imageserver.errors import CertificateError
from imageserver.model.image_messages import CheckImageRequest
from imageserver.srpc.access import Identity
from imageserver.srpc.certificate import METHODS_OID
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.front_door import FrontDoor
from imageserver.srpc.methods import Method
from imageserver.srpc.protocol import ACCEPTED
from imageserver.srpc.tls import (
    ClientTLS,
    KeyPair,
    ServerTLS,
    load_certificates,
    peer_identity,
    wrap,
)
from imageserver.srpc.trust import Trust
from imageserver.tool.authority import Validity

CONNECT = b"CONNECT /_go_TLS_SRPC_/ HTTP/1.0\n\n"


class SpecialClient(ClientTLS):
    """A client that can do what ours does not."""

    def __init__(self, pair: KeyPair | None, version: int | None = None) -> None:
        super().__init__(pair)
        self.session: Any = None
        self.connection: Any = None
        if version is not None:
            self._context.set_max_proto_version(version)

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        self.connection = super().clientConnectionForTLS(protocol)
        if self.session is not None:
            self.connection.set_session(self.session)
        return self.connection


class Handshakes(SynchronousTestCase):
    """Handshakes between both sides, in memory."""

    def setUp(self) -> None:
        self.clock = Clock()

    def shake_hands(self, server: ServerTLS, client: ClientTLS) -> Channel:
        """Connect; the channel of the server."""
        self.channel = Channel(self.clock, Deadlines())
        self.outer = Outer(self.channel, server)
        self.client = Outer(Recorder(), client)
        self.link = Link(self.clock, self.outer, self.client)
        self.link.pump()
        return self.channel

    def assertRefused(self, server: ServerTLS, client: ClientTLS) -> None:
        """There is no connection between the two, and no identity."""
        channel = self.shake_hands(server, client)
        self.assertTrue(channel.lost)
        self.assertIsNotNone(self.client.app.ended)
        self.assertEqual(self.client.app.data, b"")
        with self.assertRaises(CertificateError):
            peer_identity(channel.transport)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def assertWelcome(self, server: ServerTLS, client: ClientTLS, user: str) -> None:
        """Bytes go both ways, and the server knows whose they are."""
        channel = self.shake_hands(server, client)
        self.assertFalse(channel.lost)
        self.assertTrue(channel.is_tls)
        channel.expect_much()
        self.assertEqual(channel.transport.transport.bufferSize, 256 << 10)
        self.assertEqual(peer_identity(channel.transport).user, user)
        self.client.tls.write(b"there")
        channel.write(b"back")
        channel.flush()
        self.link.pump()
        self.assertEqual(channel.receiver.rest(), b"there")
        self.assertEqual(self.client.app.data, b"back")
        channel.close()
        self.link.pump()
        self.assertTrue(channel.lost)

    def test_good_certificate(self):
        """A certificate of the CA gives its holder's identity."""
        client = ClientTLS(user_pair("alice", "ImageServer.Get*"))
        channel = self.shake_hands(server_tls(), client)
        expected = Identity("alice", frozenset({"ops"}), ("ImageServer.Get*",))
        self.assertEqual(peer_identity(channel.transport), expected)
        self.assertWelcome(server_tls(), client, "alice")

    def test_tls_1_2(self):
        """TLS 1.2 is good enough."""
        client = SpecialClient(user_pair(), SSL.TLS1_2_VERSION)
        self.assertWelcome(server_tls(), client, "alice")

    def test_kinds_of_keys(self):
        """Keys of every kind do."""
        for key_type in ("rsa", "ed25519"):
            pair = key_pair(authority().issue("bob", YEAR, key_type=key_type))
            self.assertWelcome(server_tls(), ClientTLS(pair), "bob")

    def test_no_certificate(self):
        """Without a certificate nobody gets in."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.assertRefused(server_tls(), SpecialClient(None, version))

    def test_foreign_authority(self):
        """A certificate of another CA does not help, nor its own signature."""
        foreign = authority("foreign")
        self.assertRefused(
            server_tls(), ClientTLS(key_pair(foreign.issue("alice", YEAR)))
        )
        self.assertRefused(server_tls(), ClientTLS(key_pair(foreign.pair)))

    def test_namesake_of_the_authority(self):
        """A CA of the same name is not the same CA."""
        impostor = type(authority()).create("root", YEAR)
        self.assertRefused(
            server_tls(), ClientTLS(key_pair(impostor.issue("alice", YEAR)))
        )

    def test_leaf_as_authority(self):
        """The holder of a certificate cannot make certificates."""
        alice = authority().issue("alice", YEAR)
        key = serialization.load_pem_private_key(alice.key, None)
        leaf = x509.load_pem_x509_certificates(alice.certificate)[0]
        forger = type(authority())(leaf, key, (leaf,))
        self.assertRefused(
            server_tls(), ClientTLS(key_pair(forger.issue("root", YEAR)))
        )

    def test_expired(self):
        """A certificate that has expired is refused."""
        pair = key_pair(authority().issue("alice", Validity.of_days(-1)))
        self.assertRefused(server_tls(), ClientTLS(pair))

    def test_not_yet_valid(self):
        """A certificate of tomorrow is refused today."""
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        day = datetime.timedelta(days=1)
        pair = key_pair(authority().issue("alice", Validity(now + day, now + 2 * day)))
        self.assertRefused(server_tls(), ClientTLS(pair))

    def test_no_authorities(self):
        """With an empty CA file nobody gets in."""
        self.assertRefused(ServerTLS(server_pair(), Trust([])), ClientTLS(user_pair()))

    def test_intermediate_alone(self):
        """A CA file with nothing but an intermediate does (trap 12)."""
        middle = authority().intermediate("middle", YEAR)
        pair = key_pair(middle.issue("alice", YEAR))
        tls = ServerTLS(server_pair(), Trust([middle.certificate]))
        self.assertWelcome(tls, ClientTLS(pair), "alice")
        self.assertWelcome(
            tls, ClientTLS(KeyPair(pair.certificates[:1], pair.key)), "alice"
        )
        self.assertRefused(tls, ClientTLS(user_pair()))

    def test_chain(self):
        """A client may send the intermediates that the server does not have."""
        middle = authority().intermediate("middle", YEAR)
        pair = key_pair(middle.issue("alice", YEAR))
        self.assertWelcome(server_tls(), ClientTLS(pair), "alice")
        alone = KeyPair(pair.certificates[:1], pair.key)
        self.assertRefused(server_tls(), ClientTLS(alone))

    def test_list_of_authorities(self):
        """The acceptable CAs of both files are named: clients choose (trap 12)."""
        full = [authority().certificate, authority("second").certificate]
        identity = [authority("third").certificate, full[0]]
        tls = ServerTLS(server_pair(), Trust(full, identity))
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            client = SpecialClient(user_pair(), version)
            self.shake_hands(tls, client)
            names = client.connection.get_client_ca_list()
            self.assertEqual([name.CN for name in names], ["root", "second", "third"])

    def test_no_session_is_resumed(self):
        """Who tries to resume a session gets a full handshake, no error (trap 10)."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            tls = server_tls()
            client = SpecialClient(user_pair(), version)
            self.assertWelcome(tls, client, "alice")
            self.shake_hands(tls, client)
            client.session = client.connection.get_session()
            self.assertIsNotNone(client.session)
            self.shake_hands(tls, client)
            connection = client.connection
            self.assertFalse(SSL._lib.SSL_session_reused(connection._ssl))
            self.assertEqual(peer_identity(self.channel.transport).user, "alice")
            self.assertWelcome(tls, client, "alice")

    def test_idle_connections_are_cheap(self):
        """OpenSSL gives its buffers back while nothing goes on (trap 15)."""
        release_buffers = 0x10
        for side in (server_tls(), ClientTLS(user_pair())):
            self.assertTrue(side._context.set_mode(0) & release_buffers)

    def test_tls_1_1(self):
        """TLS 1.1 is refused with the alert that says so."""
        hello = (
            b"\x03\x02"
            + bytes(32)
            + b"\x00"
            + b"\x00\x04\xc0\x13\xc0\x09"
            + b"\x01\x00"
        )
        message = b"\x01" + len(hello).to_bytes(3) + hello
        record = b"\x16\x03\x01" + len(message).to_bytes(2) + message
        channel = Channel(self.clock, Deadlines())
        client = Recorder()
        link = Link(self.clock, Outer(channel, server_tls()), client)
        client.transport.write(record)
        link.pump()
        self.assertTrue(channel.lost)
        self.assertEqual(client.data[:1] + client.data[-2:], b"\x15\x02\x46")

    def test_garbage(self):
        """What is not TLS ends the connection."""
        channel = Channel(self.clock, Deadlines())
        client = Recorder()
        link = Link(self.clock, Outer(channel, server_tls()), client)
        client.transport.write(b"GET / HTTP/1.0\r\n\r\n")
        link.pump()
        self.assertTrue(channel.lost)

    def test_client_verifies_if_asked(self):
        """With authorities, the client refuses other servers; without, none."""
        trusting = ClientTLS(user_pair(), [authority().certificate])
        self.assertWelcome(server_tls(), trusting, "alice")
        self.assertRefused(
            server_tls(), ClientTLS(user_pair(), [authority("foreign").certificate])
        )

    def test_choice_of_certificate(self):
        """Of several certificates the first goes that the server may accept.

        If the server names no authority, the very first; if none fits, none.
        """
        second, third = authority("second"), authority("third")
        middle = second.intermediate("middle", YEAR)
        pairs = [
            user_pair("alice"),
            key_pair(middle.issue("bob", YEAR)),
            key_pair(second.issue("carol", YEAR)),
        ]
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for trusted, user in (
                ([authority()], "alice"),
                ([second], "bob"),
                ([third, second, authority()], "alice"),
            ):
                certificates = [found.certificate for found in trusted]
                tls = ServerTLS(server_pair(), Trust(certificates))
                for servers in (None, [authority().certificate]):
                    client = ClientTLS(pairs, servers)
                    for context in client._choices.values():
                        context.set_max_proto_version(version)
                    self.assertWelcome(tls, client, user)
            nobodys = ServerTLS(server_pair(), Trust([third.certificate]))
            self.assertRefused(nobodys, ClientTLS(pairs))
        client = ClientTLS(pairs)
        self.assertIs(client._choose([]), client._choices[pairs[0]])

    def test_ciphers(self):
        """Forward secrecy and authenticated encryption only, among them Go's."""
        for side in (server_tls(), ClientTLS(user_pair())):
            names = set(SSL.Connection(side._context, None).get_cipher_list())
            modern = {name for name in names if name.startswith("TLS_")}
            self.assertIn("TLS_AES_128_GCM_SHA256", modern)
            key_exchanges = ("ECDHE-ECDSA-", "ECDHE-RSA-")
            ends = ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
            # These are what Go's clients offer, too, of all that is good.
            self.assertEqual(
                names - modern, {x + y for x in key_exchanges for y in ends}
            )

    def test_options(self):
        """There is no compression and no renegotiation."""
        for side in (server_tls(), ClientTLS(user_pair())):
            options = side._context.set_options(0)
            for wanted in (SSL.OP_NO_COMPRESSION, SSL.OP_NO_RENEGOTIATION):
                self.assertTrue(options & wanted)

    def test_host(self):
        """Who verifies servers wants the right one; others do not care."""
        trusting = ClientTLS(user_pair(), [authority().certificate])
        hosts = {"localhost": True, "127.0.0.1": True, "::1": False, "other": False}
        hosts |= {"local host": False, "": False}
        for client in (trusting, ClientTLS(user_pair())):
            self.shake_hands(server_tls(), client)
            for host, good in hosts.items():
                if good or client is not trusting:
                    client.check_host(self.client.tls, host)
                    continue
                with self.assertRaisesRegex(CertificateError, f"not for {host}"):
                    client.check_host(self.client.tls, host)
        self.shake_hands(server_tls(), trusting).abort()
        self.link.pump()
        with self.assertRaisesRegex(CertificateError, "gone"):
            trusting.check_host(self.client.tls, "localhost")

    def test_server_without_names(self):
        """A server's certificate that names no host is for none."""
        nameless = key_pair(authority().issue("server", YEAR, hosts=[]))
        trusting = ClientTLS(user_pair(), [authority().certificate])
        self.shake_hands(
            ServerTLS(nameless, Trust([authority().certificate])), trusting
        )
        with self.assertRaisesRegex(CertificateError, "not for server"):
            trusting.check_host(self.client.tls, "server")

    def test_one_way_of_losing_it(self):
        """The connection can be lost at each step of the handshake."""
        for steps in range(8):
            channel = Channel(self.clock, Deadlines())
            outer = Outer(channel, server_tls())
            link = Link(self.clock, outer, Outer(Recorder(), ClientTLS(user_pair())))
            for _ in range(steps):
                _ = link.right.step() or link.left.step()
            link.right.abortConnection()
            link.pump()
            self.assertTrue(channel.lost)
            with self.assertRaises(CertificateError):
                peer_identity(channel.transport)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EagerClient(Protocol):
    """Begins TLS in the same segment as its CONNECT, or when told to."""

    def __init__(self, creator: ClientTLS, calls: bytes = b"") -> None:
        self.creator = creator
        self.app = Recorder()
        self.head = b""
        self.calls = calls

    def connectionMade(self) -> None:
        self.transport.write(CONNECT)
        self.tls = wrap(self.app, self.creator, self.transport)
        self.tls.write(self.calls)

    def dataReceived(self, data: bytes) -> None:
        missing = len(ACCEPTED) - len(self.head)
        self.head += data[:missing]
        if data[missing:]:
            self.tls.dataReceived(data[missing:])

    def connectionLost(self, reason: Failure) -> None:
        self.tls.connectionLost(reason)


class InBand(SynchronousTestCase):
    """TLS that begins in the middle of a connection."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.callers: list[Any] = []

        async def stream(call: Any) -> None:
            self.callers.append(call.caller)
            call.write(b"done\n")

        methods = [
            Method("Test", "Public", public=True, stream=stream),
            Method("Test", "Power", stream=stream),
            Method("Test", "Open", unauthenticated=True, stream=stream),
        ]
        self.server = make_server(self.clock, methods, tls=server_tls())

    def call(self, creator: ClientTLS, line: bytes) -> bytes:
        """What a client gets to see that sends ``line`` as early as it can."""
        self.client = EagerClient(creator, line)
        site = Site(None, reactor=self.clock)
        self.link = Link(self.clock, FrontDoor(self.server, site), self.client)
        self.link.pump()
        return self.client.app.data

    def test_bytes_already_read(self):
        """TLS that comes together with the CONNECT is not lost (trap 8)."""
        self.assertEqual(
            self.call(ClientTLS(user_pair()), b"Test.Public\n"), b"\ndone\n"
        )
        self.assertEqual(self.client.head, ACCEPTED)
        self.assertEqual(self.callers[0].user, "alice")

    def test_powers(self):
        """The methods in the certificate are what the caller may call."""
        powerless = ClientTLS(user_pair())
        self.assertEqual(
            self.call(powerless, b"Test.Power\n"), b"access to method denied\n"
        )
        mighty = ClientTLS(user_pair("bob", "Test.P*"))
        self.assertEqual(self.call(mighty, b"Test.Power\n"), b"\ndone\n")
        self.assertTrue(self.callers[0].has_method_access)

    def test_nobody_without_identity(self):
        """Without a good certificate not even a ping is answered (trap 11)."""
        foreign = key_pair(authority("foreign").issue("alice", YEAR))
        for pair in (None, foreign):
            for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
                for line in (b"\n", b"Test.Open\n", b"Test.Power\n"):
                    self.assertEqual(self.call(SpecialClient(pair, version), line), b"")
                    self.assertIsNotNone(self.client.app.ended)
        self.assertEqual(self.callers, [])
        self.assertEqual(self.server.accounting.open_connections, 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_certificate_without_identity(self):
        """A verified certificate that names nobody, or lies, ends the connection."""
        root = authority()
        pair = root.issue("x", YEAR)
        key = serialization.load_pem_private_key(pair.key, None)
        bad_list = x509.UnrecognizedExtension(METHODS_OID, bytes.fromhex("30030c0178"))
        for name, extensions in ((x509.Name([]), []), ("x", [(bad_list, False)])):
            subject = (
                x509.load_pem_x509_certificates(pair.certificate)[0].subject
                if name == "x"
                else name
            )
            made = root.sign(subject, key.public_key(), YEAR, extensions)
            bad = KeyPair((made,), key)
            self.assertEqual(self.call(ClientTLS(bad), b"Test.Open\n"), b"")
            self.assertIsNotNone(self.client.app.ended)
        self.assertEqual(self.callers, [])

    def test_creator_is_asked_for_each_connection(self):
        """A new context counts for new connections, and only for them (trap 16)."""
        other = authority("other")
        old, new = ClientTLS(user_pair()), ClientTLS(key_pair(other.issue("new", YEAR)))
        self.assertEqual(self.call(new, b"Test.Public\n"), b"")
        self.assertEqual(self.call(old, b"Test.Public\n"), b"\ndone\n")
        old_link, old_client = self.link, self.client
        self.server.tls = ServerTLS(server_pair(), Trust([other.certificate]))
        self.assertEqual(self.call(new, b"Test.Public\n"), b"\ndone\n")
        self.assertEqual(self.call(old, b"Test.Public\n"), b"")
        old_client.tls.write(b"Test.Public\n")
        old_link.pump()
        self.assertEqual(old_client.app.data, b"\ndone\n" * 2)

    def test_silent_client(self):
        """A client that does not begin the handshake is cut off in time."""
        client = Recorder()
        site = Site(None, reactor=self.clock)
        link = Link(self.clock, FrontDoor(self.server, site), client)
        client.transport.write(CONNECT)
        link.pump()
        self.clock.advance(self.server.deadlines.handshake_s - 1)
        link.pump()
        self.assertIsNone(client.ended)
        self.clock.advance(2)
        link.pump()
        self.assertEqual(client.data, ACCEPTED)
        self.assertIsNotNone(client.ended)
        self.assertEqual(self.server.accounting.open_connections, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end_of_tls(self):
        """The peer's close_notify ends the connection cleanly."""
        self.call(ClientTLS(user_pair()), b"\n")
        self.client.tls.loseConnection()
        self.link.pump()
        self.assertEqual(self.server.accounting.open_connections, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_undecodable_request(self):
        """The error line gets through TLS before the end."""

        async def reply(_: Any, request: Any) -> Any:
            return request

        table = make_server(
            self.clock,
            [
                Method(
                    "Test", "Echo", public=True, request=CheckImageRequest, reply=reply
                )
            ],
            tls=server_tls(),
        )
        self.server = table
        data = self.call(ClientTLS(user_pair()), b"Test.Echo\n\x00" + b"x" * 500_000)
        accepted, error, rest = data.split(b"\n")
        self.assertEqual((accepted, rest), (b"", b""))
        self.assertTrue(error)
        self.assertIsNotNone(self.client.app.ended)


class Files(SynchronousTestCase):
    """Certificates and keys in files."""

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        pair = authority().issue("alice", YEAR)
        self.certificate = self.write("cert.pem", pair.certificate)
        self.key = self.write("key.pem", pair.key)

    def write(self, name: str, data: bytes) -> Path:
        """A file."""
        path = self.directory / name
        path.write_bytes(data)
        return path

    def test_load(self):
        """A good pair says when it expires, and keeps its key to itself."""
        pair = KeyPair.load(self.certificate, self.key)
        self.assertEqual(pair.expires, pair.certificates[0].not_valid_after_utc)
        self.assertNotIn("key", repr(pair))

    def test_several_authorities(self):
        """A CA file holds any number of certificates; an empty one holds none."""
        pem = authority().pair.certificate + authority("foreign").pair.certificate
        self.assertEqual(len(load_certificates(self.write("ca", pem))), 2)
        self.assertEqual(load_certificates(self.write("ca", b" \n")), [])

    def test_half_a_file(self):
        """A file that ends within a certificate is refused as a whole."""
        pem = authority().pair.certificate + authority("foreign").pair.certificate
        for cut in (len(pem) - 200, len(pem) - 10):
            with self.assertRaisesRegex(CertificateError, "incomplete"):
                load_certificates(self.write("ca", pem[:cut]))

    def assertUnusable(self, certificate: Path, key: Path, text: str) -> None:
        """There is an error that says ``text``."""
        with self.assertRaisesRegex(CertificateError, text):
            KeyPair.load(certificate, key)

    def test_unusable(self):
        """What cannot be used is refused with a reason, and nobody is asked."""
        other = self.write("other", authority().issue("b", YEAR).key)
        encrypted = serialization.load_pem_private_key(
            self.key.read_bytes(), None
        ).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        garbage = self.write("garbage", b"garbage")
        self.assertUnusable(
            self.directory / "no", self.key, "cannot read .*no: No such"
        )
        self.assertUnusable(self.certificate, self.directory / "no", "cannot read")
        self.assertUnusable(self.write("empty", b""), self.key, "missing certificate")
        self.assertUnusable(garbage, self.key, "not PEM certificates")
        self.assertUnusable(self.certificate, garbage, "unable to load key")
        self.assertUnusable(self.certificate, other, "is not the key of")
        exchange = x25519.X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.assertUnusable(
            self.certificate, self.write("x", exchange), "not a key for certificates"
        )
        self.assertUnusable(
            self.certificate, self.write("secret", encrypted), "unable to load key"
        )
