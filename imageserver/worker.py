"""Blocking work off the reactor, in named pools of threads.

Stores are plain blocking code; whoever needs them on the reactor's side runs them
through a :class:`Worker`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from imageserver.errors import LocalProtocolError

P = ParamSpec("P")
R = TypeVar("R")


class Worker(Protocol):
    """Runs functions somewhere else and hands over what they return."""

    def run(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[R]:
        """Call ``function``; fires with its result or its exception."""


class PoolWorker(Service):
    """A worker with a pool of threads, which it starts and stops as a service.

    Stopping waits for the work that was begun: a pool that is left running would keep
    the process alive, and half-done writes would be left behind.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str, threads: int) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=threads, name=name)

    def startService(self) -> None:
        """Start the pool."""
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        """Wait for the work in hand and stop the threads."""
        super().stopService()
        self._pool.stop()

    def run(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[R]:
        """See :class:`Worker`."""
        if self._pool.joined:  # it would drop the work without a word
            return fail(LocalProtocolError("the pool of threads has been stopped"))
        return deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs)
