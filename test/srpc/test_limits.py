"""What peers may not do, and what becomes of those who do: counted, logged, cut off."""

from __future__ import annotations

from typing import Any

from srpc.doors import DEADLINES, LENGTHS, TLS, UNSECURED, Client, DoorCase
from srpc.peers import user_pair
from twisted.internet.error import ConnectionDone

from imageserver import gob
from imageserver.model.image_messages import CheckImageRequest
from imageserver.srpc.limit import Limit
from imageserver.srpc.protocol import ACCEPTED
from imageserver.srpc.tls import ClientTLS

CHECK = b"Test.Check\n"


def user(name: str = "alice", *methods: str) -> ClientTLS:
    """A client with somebody's certificate."""
    return ClientTLS(user_pair(name, *methods))


class Times(DoorCase):
    """Deadlines."""

    def deafen(self, client: Client) -> None:
        """What the server sends does not arrive any more."""
        client.link.right.pauseProducing()

    def test_first_byte(self):
        """Who says nothing at all is cut off."""
        client = self.connect()
        self.assertEndsAfter(client, DEADLINES.first_byte_s)
        self.assertLimited(Limit.FIRST_BYTE)

    def test_head(self):
        """From the first byte on the head has a deadline, however busily it drips."""
        client = self.connect()
        self.wait(0.9)
        for _ in range(3):
            client.send(b"GET")
            self.wait(0.5)
        self.assertEndsAfter(client, DEADLINES.head_s - 1.5)
        self.assertLimited(Limit.HEADER_TIME)

    def test_handshake(self):
        """A TLS handshake has a deadline, from its first byte on."""
        for data in (b"\x16", b"\x16\x03\x01\x02\x00\x01"):
            self.use()
            client = self.connect()
            client.send(data)
            self.assertEndsAfter(client, DEADLINES.handshake_s)
            self.assertLimited(Limit.HANDSHAKE)

    def test_head_inside_of_tls(self):
        """Once the handshake is over, the head has its own."""
        client = self.connect(user())
        client.send(TLS[:-1])
        self.assertEndsAfter(client, DEADLINES.head_s)
        self.assertLimited(Limit.HEADER_TIME)
        self.assertIn("no request over TLS", self.lines[-1])

    def test_handshake_in_band(self):
        """A handshake behind CONNECT has a deadline, too, however busily it drips."""
        client = self.connect()
        self.assertEqual(client.send(TLS), ACCEPTED)
        for byte in b"\x16\x03\x01\x02\x00\x01":
            client.send(bytes([byte]))
            self.wait(0.5)
        self.assertEndsAfter(client, DEADLINES.handshake_s - 3)
        self.assertLimited(Limit.HANDSHAKE, f"nothing for {DEADLINES.handshake_s:g} s")
        self.assertEqual(self.server.accounting.rejected, 1)

    def test_refusal_inside_of_tls(self):
        """A peer that does not take its refusal is cut off."""
        client = self.connect(ClientTLS(None))
        self.deafen(client)
        client.send(TLS)
        self.assertEndsAfter(client, DEADLINES.head_s)

    def test_body(self):
        """The next piece of a body has to come in time; between calls there is time."""
        client = self.connect()
        client.send(UNSECURED)
        self.wait(1_000_000)
        client.send(b"Test.Open\n")
        self.wait(DEADLINES.body_s - 1)
        client.send(b"a")
        self.assertEndsAfter(client, 1)
        self.assertLimited(Limit.BODY, "")

    def test_reading(self):
        """Who does not read answers is cut off."""
        client = self.connect(user())
        client.send(TLS)
        self.deafen(client)
        client.send(b"\n" * (1 << 20))
        self.assertEndsAfter(client, DEADLINES.stall_s)
        self.assertLimited(Limit.READING, f"nothing for {DEADLINES.stall_s:g} s")

    def test_end_that_is_not_taken(self):
        """A peer that does not see that a connection was ended is cut off."""
        for tls in (None, user()):
            self.use()
            client = self.connect(tls)
            client.send(TLS if tls else UNSECURED)
            self.deafen(client)
            client.send(b"x" * (LENGTHS.method_line + 1))
            self.assertEndsAfter(client, DEADLINES.stall_s)

    def assertLimited(self, limit: Limit, text: str = "", times: int = 1) -> None:
        """Calls say it in their own line."""
        if limit is not Limit.BODY:
            super().assertLimited(limit, text, times)
            return
        self.assertEqual(self.server.accounting.limits, {limit: times})


class Lengths(DoorCase):
    """How much a peer may say."""

    def test_head(self):
        """A head that is too long is refused, plain or inside of TLS."""
        for tls in (None, user()):
            self.use()
            client = self.connect(tls)
            head = UNSECURED[:-1].ljust(LENGTHS.head - 1, b"x")
            self.assertEqual(client.send(head), b"")
            self.assertIn(b" 400 ", client.send(b"x"))
            self.assertTrue(client.is_gone)
            self.assertLimited(Limit.HEADER, f"head longer than {LENGTHS.head} bytes")

    def test_method_line(self):
        """A method line that is too long ends the connection, even without its LF."""
        client = self.connect()
        client.send(UNSECURED)
        long = b"x" * LENGTHS.method_line
        self.assertIn(b"malformed", client.send(long + b"\n"))
        self.assertEqual(client.send(long), b"")
        self.assertFalse(client.is_gone)
        self.assertEqual(client.send(b"x"), b"")
        self.assertTrue(client.is_gone)
        self.assertLimited(Limit.METHOD_LINE, "line longer than 50 bytes")

    def test_line(self):
        """So does a line inside of a body."""
        client = self.connect()
        client.send(UNSECURED)
        client.send(b"Test.Open\n" + b"x" * 21)
        self.assertTrue(client.is_gone)
        self.assertEqual(self.server.accounting.limits, {Limit.LINE: 1})

    def test_memory(self):
        """Where long messages take too much, the one that began first has to go."""
        self.server.memory.limit = 250_000
        name = "x" * 200_000
        request = gob.Encoder().encode(CheckImageRequest(name))
        slow, quick = (self.connect(user(name, "Test.*")) for name in ("slow", "quick"))
        for client in (slow, quick):
            client.send(TLS)
            client.send(CHECK)
        slow.send(request[:150_000])
        self.assertFalse(slow.is_gone)
        self.assertIn(b"\n", quick.send(request))
        self.assertFalse(quick.is_gone)
        self.clock.advance(0)
        slow.send(b"")
        self.assertTrue(slow.is_gone)
        self.assertEqual(self.server.accounting.limits, {Limit.MEMORY: 1})
        self.assertEqual(self.server.memory.used, 0)

    def test_time_for_a_long_message(self):
        """Whoever sends a long message bit by bit gains no time by that."""
        client = self.connect(user("alice", "Test.*"))
        client.send(TLS)
        client.send(CHECK)
        request = gob.Encoder().encode(CheckImageRequest("x" * 200_000))
        client.send(request[:100])
        for _ in range(9):
            self.wait(self.server.deadlines.body_s / 10)
            client.send(b"x")
            self.assertFalse(client.is_gone)
        self.wait(self.server.deadlines.body_s / 5)
        self.assertTrue(client.is_gone)
        self.assertEqual(self.server.accounting.limits, {Limit.BODY: 1})

    def test_message(self):
        """A message that is too long is refused as soon as its length is known."""
        client = self.connect(user("alice", "Test.*"))
        client.send(TLS)
        answer = client.send(CHECK + b"\xfd\x10\x00\x01")
        self.assertEqual(answer, b"\ninvalid message length\n")
        self.assertTrue(client.is_gone)
        self.assertEqual(self.server.accounting.limits, {Limit.MESSAGE: 1})


class Connections(DoorCase):
    """How many there may be."""

    def stages(self) -> list[tuple[str, Any]]:
        """How far a peer may get without saying who it is."""

        def first_bytes(client: Client) -> None:
            client.send(b"CONN")

        def refused(client: Client) -> None:
            client.link.right.pauseProducing()
            client.send(b"\0")

        def handshake(client: Client) -> None:
            client.send(b"\x16\x03")

        def in_band(client: Client) -> None:
            self.assertEqual(client.send(TLS), ACCEPTED)
            client.send(b"\x16\x03")

        def page(client: Client) -> None:
            self.assertIn(b"200 OK", client.send(b"GET / HTTP/1.1\nHost: a\n\n"))

        def slow_page(client: Client) -> None:
            client.send(b"GET /wait HTTP/1.1\nHost: a\n\n")

        return [
            ("silent", lambda client: None),
            ("first bytes", first_bytes),
            ("refused", refused),
            ("handshake", handshake),
            ("handshake in band", in_band),
            ("page", page),
            ("slow page", slow_page),
            ("after the handshake", None),
            ("page on TLS", page),
            ("refused on TLS", refused),
        ]

    def test_room_for_others(self):
        """Who has not said who it is makes room for the next one, however far it is."""
        for name, go in self.stages():
            self.limit(half_open=1)
            client = self.connect(user() if "TLS" in name or go is None else None)
            if go is not None:
                go(client)
            self.assertFalse(client.is_gone, name)
            other = self.connect(user())
            self.wait(0)
            self.assertTrue(client.is_gone, name)
            self.assertLimited(Limit.HALF_OPEN)
            self.assertEqual(other.send(TLS), ACCEPTED, name)

    def test_no_room_needed(self):
        """Who has said who it is, or need not, stays."""
        self.limit(half_open=1)
        in_band = self.connect(user(), in_band=True)
        in_band.greet()
        in_band.begin_tls()
        in_band.link.pump()
        whole, plain = self.connect(user()), self.connect()
        self.assertTrue(whole.is_gone, "it had not sent CONNECT yet")
        whole = self.connect(user())
        self.assertTrue(plain.is_gone)
        whole.send(TLS)
        plain = self.connect()
        plain.send(UNSECURED)
        for _ in range(3):
            self.connect()
        for client in (in_band, whole, plain):
            self.assertEqual(client.send(b"\n"), b"\n")

    def test_total(self):
        """When all that are there are known, no more are let in."""
        self.limit(total=2)
        for _ in range(2):
            self.connect().send(UNSECURED)
        self.assertIsNone(self.dial(host="192.0.2.2"))
        self.assertLimited(Limit.CONNECTIONS, "192.0.2.2 closed: connections")
        self.assertEqual(self.server.accounting.rejected, 1)
        self.clients[0].vanish()
        self.assertEqual(self.connect().send(UNSECURED), ACCEPTED)

    def test_address(self):
        """One address is stopped; others, and this machine, are not."""
        self.limit(per_address=2)
        for _ in range(2):
            self.connect()
        self.assertIsNone(self.dial())
        self.assertLimited(Limit.ADDRESS, "192.0.2.1 closed: connections-per-address")
        for host in ("192.0.2.2", "127.0.0.1", "127.0.0.1", "127.0.0.1"):
            self.connect(host=host)
        self.clients[0].vanish()
        self.connect()

    def begin(self, name: str, *, in_band: bool) -> Client:
        """A connection of a user."""
        client = self.connect(user(name), in_band=in_band)
        if in_band:
            client.greet()
            client.begin_tls()
            client.link.pump()
        else:
            client.send(TLS)
        return client

    def test_user(self):
        """One user is stopped as soon as it is known who that is; others are not."""
        for in_band in (True, False):
            self.limit(per_user=1)
            first = self.begin("alice", in_band=in_band)
            second = self.begin("alice", in_band=not in_band)
            self.assertTrue(second.is_gone)
            self.assertLimited(Limit.USER, "too many connections of 'alice'")
            self.assertEqual(self.server.accounting.rejected, 1)
            bob = self.begin("bob", in_band=in_band)
            for client in (first, bob):
                self.assertEqual(client.send(b"\n"), b"\n")
            first.vanish()
            again = self.begin("alice", in_band=in_band)
            self.assertEqual(again.send(b"\n"), b"\n")

    def test_user_that_does_not_go(self):
        """Who is one too many and stays all the same has to make room for others."""
        self.limit(per_user=1, half_open=1)
        self.begin("alice", in_band=False)
        second = self.connect(user())
        second.link.right.pauseProducing()
        second.send(TLS)
        self.assertFalse(second.is_gone)
        self.connect()
        self.wait(0)
        self.assertTrue(second.is_gone)

    def test_nobody_is_no_user(self):
        """Those who need not say who they are are not one user."""
        self.limit(per_user=1)
        for _ in range(5):
            self.assertEqual(self.connect().send(UNSECURED), ACCEPTED)

    def test_flood(self):
        """However many come at once, who is quick gets in, and the log stays short."""
        self.limit(total=100, half_open=50)
        for number in range(1_000):
            self.connect(host=f"198.51.100.{number % 250}")
            if number % 100 == 50:
                self.wait(0)
                client = self.connect(user())
                self.assertEqual(client.send(TLS), ACCEPTED)
        self.wait(0)
        self.assertEqual(self.server.gate.half_open, 50)
        self.assertEqual(self.server.gate.total, 60)
        self.assertEqual(len(self.lines), 20)
        self.assertGreater(self.server.accounting.limits[Limit.HALF_OPEN], 900)

    def test_lost_anywhere(self):
        """A connection may be lost at any time, and nothing of it stays behind."""
        for name, go in self.stages():
            for end in ("vanish", "close"):
                client = self.connect(user() if "TLS" in name or go is None else None)
                if go is not None:
                    go(client)
                if end == "vanish":
                    client.vanish()
                else:
                    client.link.left.lose(ConnectionDone())
                self.assertEqual(self.server.gate.total, 0, name)
                self.assertEqual(self.clock.getDelayedCalls(), [], name)
