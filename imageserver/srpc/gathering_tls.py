"""TLS that hands on what it has decrypted in larger pieces than records."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

_RECORD_BYTES = 16 << 10


class GatheringTLS(TLSMemoryBIOProtocol):
    """Hands on all records that came at once together.

    Twisted's own protocol hands on each record (16 KiB) by itself, which costs those
    who wait for large bodies more than decrypting does.
    """

    _tlsConnection: Any
    _lostTLSConnection: bool

    def _flushReceiveBIO(self) -> None:
        records: list[bytes] = []
        while not self._lostTLSConnection:
            try:
                records.append(self._tlsConnection.recv(_RECORD_BYTES))
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:  # the peer has ended the session
                self._hand_on(records)
                self._shutdownTLS()
                self._tlsShutdownFinished(None)
            except SSL.Error:
                failure = Failure()
                self._hand_on(records)
                self._tlsShutdownFinished(failure)
        if records and not self._lostTLSConnection:
            self._hand_on(records)  # application data needs no answer from TLS itself
        else:
            self._flushSendBIO()

    def _hand_on(self, records: list[bytes]) -> None:
        if records and not self._aborted:
            data = records[0] if len(records) == 1 else b"".join(records)
            self.wrappedProtocol.dataReceived(data)
