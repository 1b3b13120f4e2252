"""Connections that are TLS from their first byte on."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from srpc.doors import DEADLINES, LENGTHS, TLS, UNSECURED, Client, DoorCase
from srpc.peers import (
    YEAR,
    authority,
    key_pair,
    server_pair,
    server_tls,
    user_pair,
)

from imageserver.srpc.front_door import ALERT
from imageserver.srpc.limit import Limit
from imageserver.srpc.protocol import ACCEPTED
from imageserver.srpc.tls import ClientTLS, ServerTLS
from imageserver.srpc.trust import Trust
from imageserver.tool.authority import Authority, Validity

GET = b"GET / HTTP/1.0\r\n\r\n"


def alice() -> ClientTLS:
    """A client that has a good certificate."""
    return ClientTLS(user_pair())


def foreign() -> ClientTLS:
    """A client whose certificate is nobody's."""
    return ClientTLS(key_pair(Authority.create("foreign", YEAR).issue("alice", YEAR)))


def expired() -> ClientTLS:
    """A client whose certificate was good."""
    return ClientTLS(key_pair(authority().issue("alice", Validity.of_days(-1))))


NOBODIES = (lambda: ClientTLS(None), foreign, expired)


class Calls(DoorCase):
    """CONNECT inside of TLS."""

    def assertRefused(self, client: Client, request: bytes, status: bytes) -> None:
        """The answer has that status, and the connection ends."""
        head, body = client.send(request).split(b"\r\n\r\n")
        self.assertEqual(head.split(b"\r\n")[0], b"HTTP/1.0 " + status)
        self.assertEqual(body, b"")
        self.assertTrue(client.is_gone)
        self.assertEqual(self.server.accounting.rejected, 1)
        self.assertEqual(self.server.accounting.connections, 0)

    def test_accepted(self):
        """There is no second handshake, and the caller is who the certificate says."""
        client = self.connect(alice())
        self.assertEqual(client.send(TLS), ACCEPTED)
        self.assertEqual(client.send(b"\n"), b"\n")
        self.assertEqual(client.send(b"Test.Public\nhello\n"), b"\nhello\n")
        self.assertEqual(self.callers, ["alice"])
        ways = {str(way): n for way, n in self.server.accounting.open_by_way.items()}
        self.assertEqual(ways, {"tls-gob": 1})

    def test_pipelined(self):
        """What comes together with CONNECT is not lost."""
        client = self.connect(alice())
        answer = client.send(TLS + b"\nTest.Public\nhello\n\n")
        self.assertEqual(answer, ACCEPTED + b"\n\nhello\n\n")

    def test_cut_anywhere(self):
        """It does not matter how the encrypted bytes are cut."""
        client = self.connect(alice())
        client.link.right.pauseProducing()
        for byte in TLS + b"\n":
            client.send(bytes([byte]))
        client.link.right.resumeProducing()
        client.link.pump()
        self.assertEqual(client.take(), ACCEPTED + b"\n")

    def test_no_limit_between_calls(self):
        """Once CONNECT was accepted, a client may be silent."""
        client = self.connect(alice())
        client.send(TLS)
        self.wait(1_000_000)
        self.assertEqual(client.send(b"\n"), b"\n")

    def test_nobody(self):
        """Without a good certificate, the TLS path is refused."""
        for number, tls in enumerate(NOBODIES):
            self.use()
            self.assertRefused(self.connect(tls()), TLS, b"401 Unauthorized")
            self.assertIn("closed: ", self.lines[-1], number)

    def test_nobody_on_the_unsecured_path(self):
        """On the unsecured path nobody is asked for a certificate; it says nothing."""
        for number, tls in enumerate((*NOBODIES, alice)):
            client = self.connect(tls())
            self.assertEqual(client.send(UNSECURED), ACCEPTED)
            answer = client.send(b"Test.Public\nTest.Open\nhello\n")
            self.assertEqual(answer, b"access to method denied\n\nhello\n")
            self.assertEqual(self.callers, [""] * (number + 1))

    def test_unsecured_path_of_no_use(self):
        """Where every call needs a certificate, it says so."""
        self.use(open_calls=False)
        client = self.connect(alice())
        self.assertRefused(client, UNSECURED, b"405 Method Not Allowed")

    def test_refusals(self):
        """The rules are those of other connections."""
        for request, status in (
            (b"GET /_go_TLS_SRPC_/ HTTP/1.0\n\n", b"400 Bad Request"),
            (b"CONNECT /_go_TLS_SRPC_/?%zz HTTP/1.0\n\n", b"400 Bad Request"),
            (b"\x16\x03\x01", b"400 Bad Request"),  # no TLS inside of TLS
            (b"GET / HTTP/1.0\n" + b"a: b\n" * LENGTHS.head, b"400 Bad Request"),
        ):
            self.use()
            self.assertRefused(self.connect(alice()), request, status)

    def test_after_a_refusal(self):
        """What comes after a refusal is not looked at."""
        client = self.connect(ClientTLS(None))
        client.link.right.pauseProducing()
        client.send(TLS)
        client.send(UNSECURED + b"\n")
        client.link.right.resumeProducing()
        client.link.pump()
        self.assertEqual(client.take().count(b"HTTP/1.0"), 1)

    def test_powers(self):
        """Who does not want its powers has none."""
        powerful = ClientTLS(user_pair("alice", "Test.*"))
        for query, answer in (
            (b"", b"\n"),
            (b"?doNotUseMethodPowers=true", b"access to method denied\n"),
        ):
            client = self.connect(powerful)
            client.send(TLS.replace(b"_/ ", b"_/" + query + b" "))
            self.assertEqual(client.send(b"Test.Check\n"), answer)

    def test_new_certificates(self):
        """Certificates that were replaced count for the next connection."""
        before = self.connect(alice())
        self.server.tls = ServerTLS(server_pair(), Trust([]))
        self.assertEqual(before.send(TLS), ACCEPTED)
        self.assertIn(b"401", self.connect(alice()).send(TLS))
        self.server.tls = server_tls()
        self.assertEqual(self.connect(alice()).send(TLS), ACCEPTED)

    def test_end_of_tls(self):
        """A client that ends TLS ends the connection."""
        client = self.connect(alice())
        client.send(TLS)
        client.transport.loseConnection()
        client.link.pump()
        self.assertTrue(client.is_gone)

    def test_in_band(self):
        """TLS in the middle of a connection is there as well."""
        client = self.connect(alice(), in_band=True)
        self.assertEqual(client.greet(), ACCEPTED)
        client.begin_tls()
        client.link.pump()
        self.assertEqual(client.send(b"Test.Public\nhello\n"), b"\nhello\n")
        self.assertEqual(self.callers, ["alice"])


class Pages(DoorCase):
    """HTTPS on the same port."""

    def test_certificate_does_not_matter(self):
        """Pages are for everybody, with a certificate or without, good or bad."""
        for tls in (*NOBODIES, alice):
            client = self.connect(tls())
            answer = client.send(GET)
            self.assertTrue(answer.startswith(b"HTTP/1.0 200 OK\r\n"), answer)
            self.assertTrue(answer.endswith(b"GET secure "), answer)
            self.assertTrue(client.is_gone)

    def test_plain_pages(self):
        """They are there without TLS, too."""
        self.assertTrue(self.connect().send(GET).endswith(b"GET plain "))

    def test_body(self):
        """A body goes to the site whole, however it is cut."""
        body = bytes(range(256)) * 1_000
        head = b"POST / HTTP/1.1\nHost: a\nContent-Length: %d\n\n" % len(body)
        for cut in (0, 1, 100_000):
            client = self.connect(ClientTLS(None))
            self.assertEqual(client.send(head + body[:cut]), b"")
            self.assertTrue(client.send(body[cut:]).endswith(b"POST secure " + body))

    def test_keep_alive(self):
        """A connection may ask for several pages, and ends when it asks for none."""
        client = self.connect(ClientTLS(None))
        for _ in range(3):
            answer = client.send(GET.replace(b"1.0", b"1.1\r\nHost: a"))
            self.assertTrue(answer.endswith(b"GET secure "), answer)
            self.wait(50)
            self.assertFalse(client.is_gone)
        self.assertEndsAfter(client, 10)
        self.assertEqual(self.server.accounting.pages, 1)

    def test_slow_page(self):
        """A page may take its time."""
        for tls in (ClientTLS(None), None):
            client = self.connect(tls)
            client.send(b"GET /wait HTTP/1.0\r\n\r\n")
            for _ in range(10):
                self.wait(DEADLINES.stall_s)
            self.assertFalse(client.is_gone)

    def test_page_that_nobody_reads(self):
        """A peer that does not take the end of a page is cut off."""
        for tls in (ClientTLS(None), None):
            self.use()
            client = self.connect(tls)
            client.link.right.pauseProducing()
            client.send(GET)
            self.assertFalse(client.is_gone)
            self.wait(DEADLINES.stall_s)
            self.assertFalse(client.is_gone)
            self.wait(DEADLINES.stall_s + 0.1)
            self.assertTrue(client.is_gone)
            self.assertLimited(Limit.READING)


class Required(DoorCase):
    """A server that takes nothing but TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.use(requires_tls=True)

    def test_alert(self):
        """Whatever is not TLS gets an alert, which makes clients begin again with TLS.

        The peer's end is waited for: else the alert might be lost.
        """
        for data in (UNSECURED, TLS, GET, b"\n", b"\0", b"C"):
            client = self.connect()
            self.assertEqual(client.send(data), ALERT)
            self.assertFalse(client.link.left.disconnecting)
            self.assertTrue(client.is_gone)
        self.assertEqual(ALERT, b"\x15\x03\x01\x00\x02\x02\x46")
        self.assertEqual(self.server.accounting.rejected, 6)

    def test_tls(self):
        """With TLS from the first byte on everything is as usual."""
        client = self.connect(alice())
        self.assertEqual(client.send(TLS), ACCEPTED)
        self.assertEqual(client.send(b"Test.Public\nhello\n"), b"\nhello\n")
        self.assertIn(b"200 OK", self.connect(ClientTLS(None)).send(GET))

    def test_peer_that_does_not_go(self):
        """A peer that does not take the alert is cut off."""
        client = self.connect()
        client.link.right.pauseProducing()
        client.send(UNSECURED)
        self.assertEndsAfter(client, DEADLINES.head_s)
