"""Lets a client look at what the server accepts before it presents a certificate.

OpenSSL asks a callback for that, which pyOpenSSL does not offer: this is the one place
that goes through to the library below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL

_openssl: Any = SSL  # with what is not public
_GO_ON = 1
_FAIL = 0

Choose = Callable[[Sequence[bytes]], SSL.Context | None]


def ask_for_context(connection: SSL.Connection, choose: Choose) -> None:
    """Have ``choose`` called when the server asks for a certificate.

    Args:
        connection: of a client, before its handshake.
        choose: from the DER names of the authorities that the server accepts to the
            context with which to go on; ``None``: with the one that there is.
    """

    def asked(_ssl: object, _argument: object) -> int:
        names = [name.der() for name in connection.get_client_ca_list()]
        context = choose(names)
        if context is not None:
            connection.set_context(context)
        return _GO_ON

    ffi = _openssl._ffi
    callback = ffi.callback("int(SSL *, void *)", asked, error=_FAIL)
    _openssl._lib.SSL_set_cert_cb(connection._ssl, callback, ffi.NULL)
    vars(connection)["_asked"] = callback  # lives as long as the connection
