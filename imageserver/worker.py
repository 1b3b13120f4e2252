"""Blocking work off the reactor, in named pools of threads.

Stores are plain blocking code; whoever needs them on the reactor's side runs them
through a :class:`Worker`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from traceback import clear_frames
from typing import ParamSpec, Protocol, TypeVar

import attrs
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
        work: list[Callable[[], R]] = [partial(function, *args, **kwargs)]
        outcome = deferToThreadPool(self._reactor, self._pool, _attempt, work)
        return outcome.addCallback(_result_of)


@attrs.frozen
class _Raised:
    """An exception on its way out of a thread."""

    error: Exception


def _attempt(work: list[Callable[[], R]]) -> R | _Raised:
    """Do the work; an exception keeps its traceback, but not what frames hold.

    That may be large, and the frames of a pool hold exceptions in a circle: all of it
    would stay until garbage is collected.

    Args:
        work: one function; it is taken out, since the frames above hold the list.
    """
    try:
        return work.pop()()
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            clear_frames(cause.__traceback__)
            cause = cause.__context__
        return _Raised(error)


def _result_of(outcome: R | _Raised) -> R:
    if isinstance(outcome, _Raised):
        raise outcome.error
    return outcome
