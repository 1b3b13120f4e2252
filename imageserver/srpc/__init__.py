"""SRPC: calls over HTTP CONNECT, with or without TLS: ``docs/protocol.md``."""
