"""What the system should know about our connections."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import ISystemHandle

_LONGEST_S = 32_767  # Linux takes no more


def set_socket_options(transport: Any, keep_alive_s: float) -> None:
    """Send small things at once, and find out when a silent peer is gone.

    Args:
        transport: a TCP connection.
        keep_alive_s: how long it may be silent before the system asks.
    """
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    if ISystemHandle.providedBy(transport):
        handle: Any = transport.getHandle()
        period_s = min(max(1, int(keep_alive_s)), _LONGEST_S)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            handle.setsockopt(socket.IPPROTO_TCP, option, period_s)
