"""Finds out whether a chain of masters leads back to this server.

Nobody knows all names that a server can be reached by. So each master in the chain is
asked for an image that nobody else would ask for; if we are asked for it ourselves,
we know.
"""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime

from imageserver.client.image_server import ImageServerClient
from imageserver.errors import ImageServerError, ReplicationRefused
from imageserver.srpc.carrier import within
from imageserver.srpc.pool import Dial

_LONGEST = 16
_PATIENCE_S = 10.0


@attrs.define
class Recognition:
    """How this server recognizes itself.

    Attributes:
        name: of an image that nobody else asks for.
        is_asked: whether somebody asked us for it.
    """

    name: str
    is_asked: bool = False

    def look(self, name: str) -> None:
        """Somebody asks for an image."""
        self.is_asked = self.is_asked or name == self.name


async def check_chain(
    clock: IReactorTime, dial: Dial, master: str, recognition: Recognition
) -> None:
    """Make sure that our master, and its masters, do not follow us.

    What does not answer is passed over.

    Args:
        clock: for the time that each of them may take.
        dial: connects.
        master: ours, as host and port.
        recognition: see there.

    Raises:
        ReplicationRefused: one of them follows us, or they follow each other.
    """
    chain: list[str] = []
    recognition.is_asked = False
    while master:
        if master in chain or len(chain) >= _LONGEST:
            raise ReplicationRefused(_describe([*chain, master]))
        chain.append(master)
        try:
            asking = _ask(dial, master, recognition.name)
            master = await within(clock, _PATIENCE_S, asking)
        except (ImageServerError, ValueError):
            return
        if recognition.is_asked:
            raise ReplicationRefused(_describe([*chain[:-1], "this server"]))


def _describe(chain: list[str]) -> str:
    return (
        "a cycle of replication masters: this server follows "
        + ", which follows ".join(chain)
    )


async def _ask(dial: Dial, address: str, name: str) -> str:
    """Let a server be asked for an image; whom it follows itself."""
    host, _, port = address.rpartition(":")
    connection = await dial(host.strip("[]"), int(port))
    try:
        client = ImageServerClient(connection)
        await client.check_image(name)
        return await client.get_replication_master()
    finally:
        connection.close()
