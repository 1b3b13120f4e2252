"""Where connections come in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from imageserver.errors import ConfigError
from imageserver.listening import adopt


class Greeter(Protocol):
    """Says something and goes."""

    def connectionMade(self):
        """See the class."""
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Adoption(TestCase):
    """Sockets that were handed to us."""

    timeout = 20

    async def test_waiting_client(self):
        """Who connects before we are there waits, and is then served."""
        handed = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(handed.close)
        client = socket.create_connection(handed.getsockname())
        self.addCleanup(client.close)
        (port,) = adopt(reactor, [handed.dup().detach()], Factory.forProtocol(Greeter))
        answer = Deferred()
        client.setblocking(False)

        class Reader:
            """Tells what the client is sent."""

            def fileno(self):
                return client.fileno()

            def logPrefix(self):
                return "reader"

            def doRead(self):
                reactor.removeReader(self)
                answer.callback(client.recv(100))

            def connectionLost(self, reason):
                pass

        reactor.addReader(Reader())
        self.assertEqual(await answer, b"hello")
        await port.stopListening()
        # The supervisor's own socket goes on: the next client waits again.
        socket.create_connection(handed.getsockname()).close()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Sockets that are of no use to us."""
    made = [
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.socket(socket.AF_INET),
    ]
    yield made
    for each in made:
        each.close()


def test_wrong_sockets(sockets: list[socket.socket]) -> None:
    """What is no listening Internet socket is refused with a reason."""
    for each, reason in zip(
        sockets, ("not an Internet", "not one that", "not one that"), strict=True
    ):
        with pytest.raises(ConfigError, match=f"socket {each.fileno()} is {reason}"):
            adopt(None, [each.fileno()], Factory())
    with closing(socket.socket()) as gone:
        number = gone.fileno()
    with pytest.raises(ConfigError, match="Bad file descriptor"):
        adopt(None, [number], Factory())
