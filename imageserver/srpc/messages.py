"""Values of the transport's own methods.

Those of ``.LocalUpgradeToUnix``, and of ``Proxy.Connect``, which our server does not
offer and our client calls.
"""

from __future__ import annotations

from imageserver import gob
from imageserver.gob import BOOL, BYTES, INT, STRING


@gob.struct("localUpgradeToUnixRequestOne")
class LocalUpgradeToUnixRequestOne:
    """The client offers to move to a Unix socket."""

    client_cookie: bytes = gob.field("ClientCookie", BYTES)


@gob.struct("localUpgradeToUnixResponseOne")
class LocalUpgradeToUnixResponseOne:
    """Where the socket is."""

    error: str = gob.field("Error", STRING)
    server_cookie: bytes = gob.field("ServerCookie", BYTES)
    socket_path_name: str = gob.field("SocketPathname", STRING)


@gob.struct("localUpgradeToUnixRequestTwo")
class LocalUpgradeToUnixRequestTwo:
    """Whether the client is there."""

    sent_server_cookie: bool = gob.field("SentServerCookie", BOOL)


@gob.struct("localUpgradeToUnixResponseTwo")
class LocalUpgradeToUnixResponseTwo:
    """An empty error means that calls go on over the socket."""

    error: str = gob.field("Error", STRING)


@gob.struct("ConnectRequest")
class ConnectRequest:
    """Ask a proxy for a connection; the timeout is in nanoseconds."""

    address: str = gob.field("Address", STRING)
    network: str = gob.field("Network", STRING)
    timeout_ns: int = gob.field("Timeout", INT)


@gob.struct("ConnectResponse")
class ConnectResponse:
    """An empty error means that raw bytes follow in both directions."""

    error: str = gob.field("Error", STRING)
