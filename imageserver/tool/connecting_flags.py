"""The flags that all tools have."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from imageserver.flags import (
    BOOL,
    DURATION,
    INT,
    MINUTE,
    SECOND,
    STRING,
    Flag,
    FlagSet,
    UsageError,
)

CONNECTING_FLAGS = (
    Flag("certDirectory", STRING, "", "where your certificates are (default ~/.ssl)"),
    Flag(
        "serverCAfile",
        STRING,
        "",
        "CA certificates by which to verify the server; empty: do not",
    ),
    Flag(
        "srpcProxy",
        STRING,
        "",
        "goes between: socks, socks4, socks4a, socks5 or srpc, and ://HOST:PORT",
    ),
    Flag(
        "srpcClientDoNotUseMethodPowers",
        BOOL,
        False,
        "let the server ignore what gives you power over methods",
    ),
    Flag(
        "srpcDefaultConnectTimeout",
        DURATION,
        15 * SECOND,
        "limit for connecting, and then for CONNECT with the TLS handshake",
    ),
    Flag(
        "srpcDefaultTlsHandshakeTimeout",
        DURATION,
        MINUTE,
        "limit for TLS handshakes",
    ),
    Flag(
        "srpcDefaultKeepAlivePeriod",
        DURATION,
        5 * MINUTE,
        "how often idle connections are probed",
    ),
)
OUTPUT_FLAGS = (
    Flag("json", BOOL, False, "print results as JSON"),
    Flag("quiet", BOOL, False, "no progress, no hints: results and errors only"),
    Flag("logDebugLevel", INT, -1, "0 tells how it goes"),
    Flag("logDatestamps", BOOL, False, "say when, in front of what is logged"),
    Flag("logSubseconds", BOOL, False, "say when to the microsecond"),
    Flag("version", BOOL, False, "print the version and exit"),
)


def check_connecting(flags: FlagSet, values: Mapping[str, Any]) -> None:
    """Refuse limits that nothing could keep, and proxies that there cannot be.

    Raises:
        ConfigError: there is one.
    """
    for flag in flags.flags:
        is_limit = flag.name.startswith("srpcDefault")
        if is_limit and values[flag.name] <= 0:
            raise UsageError(f"-{flag.name} has to be more than 0")
    if values["srpcProxy"]:
        # Few need a proxy, and it takes time to load.
        importlib.import_module("imageserver.srpc.proxy").parse_proxy(
            values["srpcProxy"]
        )
