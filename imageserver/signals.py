"""What signals do, but for those that stop the process: the reactor has these."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service

_STDERR = 2  # as a descriptor: it may become a file of the log
_QUIT_CODE = 2
_IGNORED = (signal.SIGUSR1, signal.SIGUSR2)


class Signals(Service):
    """Reads files again on HUP, shows what all threads do on QUIT, ignores others."""

    def __init__(
        self,
        reactor: Any,
        reload: Callable[[], object],
        before_end: Callable[[], object],
    ) -> None:
        """Nothing is changed yet.

        Args:
            reactor: calls ``reload``.
            reload: called on HUP.
            before_end: called on QUIT, when the threads were shown.
        """
        self._reactor = reactor
        self._reload = reload
        self._before_end = before_end

    def startService(self) -> None:
        """Begin to heed signals."""
        super().startService()
        signal.signal(signal.SIGHUP, self._hang_up)
        signal.signal(signal.SIGQUIT, self._quit)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        # The dump is made at once, also if the main thread never gets to its handler.
        faulthandler.register(
            signal.SIGQUIT, file=_STDERR, all_threads=True, chain=True
        )

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload)

    def _quit(self, number: int, frame: FrameType | None) -> None:
        self._before_end()
        os._exit(_QUIT_CODE)
