"""The names of limits that peers can run into, for metrics and the log."""

from __future__ import annotations

from enum import StrEnum


class Limit(StrEnum):
    """What was exceeded. ``docs/security.md``, "Input from outside"."""

    CONNECTIONS = "connections"
    ADDRESS = "connections-per-address"
    USER = "connections-per-user"
    HALF_OPEN = "half-open-connections"
    FIRST_BYTE = "first-byte-time"
    HEADER_TIME = "header-time"
    HANDSHAKE = "handshake-time"
    BODY = "body-time"
    READING = "reading-time"
    HEADER = "header-length"
    METHOD_LINE = "method-line-length"
    LINE = "line-length"
    MESSAGE = "message-size"
    MEMORY = "message-memory"
