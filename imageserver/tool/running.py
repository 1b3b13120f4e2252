"""Runs one command, from the command line to the exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

from imageserver.errors import ImageServerError
from imageserver.tool.command import Command
from imageserver.tool.session import DiallingFailed, Session, access_of
from imageserver.tool.terminal import tell

FAILED = 1
_INTERRUPTED = 130
_CLEANING_UP_S = 2.0
_OBJECTS = 100_000  # between two looks for garbage; inodes are many, and none is any

MakeSession = Callable[[Any], Session[Any]]


def run(command: Command, arguments: Sequence[str], make_session: MakeSession) -> int:
    """Run a command; the exit code.

    Args:
        command: which one.
        arguments: its arguments.
        make_session: from the reactor to what the command works with.
    """
    command.load()
    gc.freeze()  # what was imported stays
    gc.set_threshold(_OBJECTS)
    gc.enable()
    codes: list[int] = []
    sessions: list[Session[Any]] = []

    async def work(session: Session[Any]) -> None:
        codes.append(await perform(command, arguments, session))

    def begin(reactor: Any) -> Deferred[None]:
        session = make_session(reactor)
        sessions.append(session)
        working = Deferred.fromCoroutine(work(session))
        interrupt = partial(_interrupt, session, working)
        reactor.addSystemEventTrigger("before", "shutdown", interrupt)
        return working

    try:
        react(begin)
    except SystemExit as done:
        if sessions[0].interrupted:
            print("interrupted", file=sys.stderr, flush=True)
            os._exit(_INTERRUPTED)  # threads may be in the middle of something
        if done.code:
            return FAILED
    return codes[0] if codes else FAILED


async def perform(
    command: Command, arguments: Sequence[str], session: Session[Any]
) -> int:
    """Let a command do its work, and tell what goes wrong; the exit code."""
    function = command.load()
    session.start()
    try:
        code: int = await function(session, *arguments)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ImageServerError, OSError) as error:
        await _tell(session, command, arguments, error)
    except CancelledError:
        session.interrupted = True
    else:
        return code
    finally:
        session.stop()
    return FAILED


async def _tell(
    session: Session[Any],
    command: Command,
    arguments: Sequence[str],
    error: Exception,
) -> None:
    """Say what went wrong, and what to do about it."""
    if isinstance(error, DiallingFailed):
        tell(str(error))
    else:
        tell(command.explain(error, arguments))
    if not session.talk.is_quiet:
        from imageserver.tool import advice  # noqa: PLC0415 - for errors only

        hint = advice.advise(error, access_of(session.settings).certificates)
        if hint := hint or await advice.advise_name(error, session):
            tell(f"hint: {hint}")


def _interrupt(session: Session[Any], working: Deferred[None]) -> Deferred[None] | None:
    """End the work when the reactor is stopped by a signal; cleaning up takes time."""
    if working.called:
        return None
    session.interrupted = True
    ended: Deferred[None] = Deferred()
    ended.addTimeout(_CLEANING_UP_S, session.reactor)
    ended.addErrback(lambda _: None)

    def end(result: None) -> None:
        if not ended.called:
            ended.callback(None)

    working.addCallback(end)
    working.cancel()
    return ended
