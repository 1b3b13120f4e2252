"""The Logger service: write into the log, watch it, look what the server does.

Watch::

    C: WatchRequest
    S: WatchResponse; lines of the log, until the client closes the connection

Only who has power over these methods may call them.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable

from twisted.logger import Logger

from imageserver.errors import PeerClosed, RequestError
from imageserver.log import NO_DEBUG, Log, Watcher
from imageserver.model.expression import compile_expression
from imageserver.model.logger_messages import (
    DebugRequest,
    DebugResponse,
    GetStackTraceRequest,
    GetStackTraceResponse,
    PrintRequest,
    PrintResponse,
    SetDebugLevelRequest,
    SetDebugLevelResponse,
    WatchRequest,
    WatchResponse,
)
from imageserver.rpc.follower import Follower
from imageserver.srpc.access import Caller
from imageserver.srpc.call import Call
from imageserver.srpc.methods import Method

_SERVICE = "Logger"
_BACKLOG = 256
_HIGHEST_LEVEL = 32_767


class LoggerService:
    """Serves the log of the process; its name is empty, and there is no other."""

    _log = Logger()

    def __init__(self, log: Log) -> None:
        """Serve ``log``."""
        self._watched = log

    def methods(self) -> list[Method]:
        """The methods."""
        return [
            Method(_SERVICE, "Debug", request=DebugRequest, reply=self.debug),
            Method(
                _SERVICE,
                "GetStackTrace",
                request=GetStackTraceRequest,
                reply=self.get_stack_trace,
            ),
            Method(_SERVICE, "Print", request=PrintRequest, reply=self.print),
            Method(
                _SERVICE,
                "SetDebugLevel",
                request=SetDebugLevelRequest,
                reply=self.set_debug_level,
            ),
            Method(_SERVICE, "Watch", stream=self.watch),
        ]

    async def debug(self, _: Caller, request: DebugRequest) -> DebugResponse:
        """Log a debug message."""
        _check_name(request.name)
        text = " ".join(request.arguments)
        self._watched.debug(request.level, f"Logger.Debug({request.level}): {text}")
        return DebugResponse()

    async def print(self, _: Caller, request: PrintRequest) -> PrintResponse:
        """Log a message."""
        _check_name(request.name)
        self._log.info("Logger.Print(): {text}", text=" ".join(request.arguments))
        return PrintResponse()

    async def set_debug_level(
        self, _: Caller, request: SetDebugLevelRequest
    ) -> SetDebugLevelResponse:
        """Say which debug messages are logged."""
        _check_name(request.name)
        self._log.info("Logger.SetDebugLevel({wanted})", wanted=request.level)
        self._watched.level = min(max(request.level, NO_DEBUG), _HIGHEST_LEVEL)
        return SetDebugLevelResponse()

    async def get_stack_trace(
        self, _: Caller, __: GetStackTraceRequest
    ) -> GetStackTraceResponse:
        """What each thread is doing."""
        return GetStackTraceResponse(describe_stacks().encode("utf-8", "replace"))

    async def watch(self, call: Call) -> None:
        """Send what is logged from now on."""
        request = await call.receive(WatchRequest)
        try:
            _check_name(request.name)
            wants = _selection(request.include, request.exclude)
        except RequestError as error:
            call.send(WatchResponse(str(error)))
            await call.drain()
            return
        call.send(WatchResponse())
        await call.drain()
        follower: Follower[str] = Follower(call, _BACKLOG)
        watcher = Watcher(max(request.debug_level, NO_DEBUG), wants, follower.put)
        self._watched.watch(watcher)
        try:
            while True:
                lines = "".join(await follower.news())
                call.write(lines.encode("utf-8", "replace"))
                await call.drain()
        except PeerClosed:
            raise follower.ended or PeerClosed("the client has left") from None
        finally:
            self._watched.leave(watcher)
            follower.end()


def describe_stacks() -> str:
    """What each thread is doing now."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = [
        f"thread {names.get(number, number)}:\n"
        + "".join(traceback.format_stack(frame))
        for number, frame in sys._current_frames().items()
    ]
    return "\n".join(stacks)


def _check_name(name: str) -> None:
    if name:
        raise RequestError(f"unknown logger: {name}")


def _selection(include: str, exclude: str) -> Callable[[str], bool]:
    """Which lines are wanted.

    Raises:
        RequestError: one of the expressions is none.
    """
    try:
        included = compile_expression(include)
        excluded = compile_expression(exclude) if exclude else None
    except ValueError as error:
        raise RequestError(f"invalid expression: {error}") from error
    return lambda line: bool(
        included.search(line) and not (excluded and excluded.search(line))
    )
