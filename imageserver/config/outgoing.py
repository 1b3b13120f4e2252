"""How the server calls other servers."""

from __future__ import annotations

import attrs

from imageserver.flags import BOOL, DURATION, SECOND, STRING, Flag

_GROUP = "Calls to other servers"

FLAGS = (
    Flag(
        "srpcDefaultConnectTimeout",
        DURATION,
        15 * SECOND,
        "limit for getting connected",
        _GROUP,
        least=1,
    ),
    Flag(
        "srpcProxy",
        STRING,
        "",
        "proxy for connections: http://, socks5:// or srpc:// HOST:PORT",
        _GROUP,
    ),
    Flag(
        "srpcClientDoNotUseMethodPowers",
        BOOL,
        False,
        "ask servers to ignore the methods that our certificate permits",
        _GROUP,
    ),
)


@attrs.frozen(slots=False)
class OutgoingSettings:
    """How the server calls other servers."""

    srpc_default_connect_timeout: int
    srpc_proxy: str
    srpc_client_do_not_use_method_powers: bool
