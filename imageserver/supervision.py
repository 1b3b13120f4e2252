"""Tells a supervisor how we are: systemd, or whatever else speaks ``sd_notify``.

Source: docs/operations.md, "systemd".
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_EXTENSION_S = 60
_TICK_S = 20.0


class Supervisor(Service):
    """Tells it when we are ready, and from time to time that we live.

    Without a supervisor nothing happens.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, environment: Mapping[str, str], process_id: int
    ) -> None:
        """Look who supervises us.

        Args:
            clock: when to say that we live.
            environment: names the supervisor's socket, and how often it wants to hear.
            process_id: ours.
        """
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._interval_s = _TICK_S
        if environment.get("WATCHDOG_PID", str(process_id)) == str(process_id):
            microseconds = environment.get("WATCHDOG_USEC", "")
            if microseconds.isdecimal() and int(microseconds):
                self._interval_s = min(_TICK_S, int(microseconds) / 1e6 / 3)
        self._is_ready = False
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = clock

    def startService(self) -> None:
        """Begin to say that we live."""
        super().startService()
        if self._address:
            self._ticking.start(self._interval_s).addErrback(
                lambda failure: self._log.failure("no more signs of life", failure)
            )

    def stopService(self) -> None:
        """Say nothing any more: what is left to do takes no time."""
        super().stopService()
        if self._ticking.running:
            self._ticking.stop()

    def ready(self, text: str) -> None:
        """We serve; ``text`` says what."""
        self._is_ready = True
        self._tell("READY=1", f"STATUS={text}")

    def reloading(self) -> None:
        """We read our files again; :meth:`ready` comes next."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self) -> None:
        """We are going to end."""
        self._tell("STOPPING=1")

    def _tick(self) -> None:
        lines = ["WATCHDOG=1"]
        if not self._is_ready:
            # Many images take their time; whoever waits for us is to go on waiting.
            lines.append(f"EXTEND_TIMEOUT_USEC={_EXTENSION_S * 1_000_000}")
        self._tell(*lines)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as sender:
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            self._log.warn("cannot tell the supervisor: {error}", error=error)
