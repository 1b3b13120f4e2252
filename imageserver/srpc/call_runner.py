"""Runs calls, one after the other on each connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from imageserver.errors import (
    DecodeError,
    GobTypeError,
    ImageServerError,
    LocalProtocolError,
    RemoteProtocolError,
)
from imageserver.srpc.access import Caller
from imageserver.srpc.accounting import Accounting, MethodAccount, Way
from imageserver.srpc.arrival import RunningCall
from imageserver.srpc.call import Call, SelfSending
from imageserver.srpc.channel import Channel
from imageserver.srpc.message_memory import MessageMemory
from imageserver.srpc.methods import SMALL, Method
from imageserver.srpc.protocol import error_line
from imageserver.worker import Worker


class CallRunner:
    """See the module.

    Attributes:
        running: the calls that go on.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        accounting: Accounting,
        memory: MessageMemory,
        decoding: Worker,
        started: Callable[[], Awaitable[None]],
    ) -> None:
        """Run calls.

        Args:
            clock: measures how long they take.
            accounting: counts them.
            memory: what long messages take that come in.
            decoding: decodes and encodes these.
            started: waits until there is anything to call.
        """
        self.running: set[RunningCall] = set()
        self._clock = clock
        self._accounting = accounting
        self._memory = memory
        self._decoding = decoding
        self._started = started

    async def run(
        self, channel: Channel, method: Method, caller: Caller, way: Way
    ) -> bool:
        """Run one call; whether the connection is good for another one."""
        account = self._accounting.methods[method.full_name]
        account.begin(way)
        started_s = self._clock.seconds()
        running = RunningCall(method.full_name, caller.user, caller.address, started_s)
        self.running.add(running)
        call = Call(channel, caller, method.limits, self._decoding, way.coder)
        call.memory = self._memory
        usable, outcome = False, "ok"
        try:
            if not method.is_builtin:
                await self._started()
            if method.reply is not None:
                usable, outcome = await self._reply(call, method, account)
            else:
                await self._stream(call, method)
                usable = True
            await channel.drain()
        except Exception as error:
            usable = False
            outcome = f"failed: {error}"
            self._accounting.note(error)
            if not _is_meant_for_client(error):
                account.crashed += 1
                self._log.failure("{method} crashed", method=method.full_name)
                outcome = "internal error"
        finally:
            self.running.discard(running)
            duration_ms = (self._clock.seconds() - started_s) * 1000
            account.end(duration_ms, usable=usable)
        self._log.info(
            "{method} by {user!r} from {address}: {outcome} ({duration_ms:.1f} ms)",
            method=method.full_name,
            user=caller.user,
            address=caller.address,
            outcome=outcome,
            duration_ms=duration_ms,
        )
        return usable

    async def _stream(self, call: Call, method: Method) -> None:
        assert method.stream is not None  # noqa: S101 - a method is one or the other
        call.write(b"\n")
        call.channel.flush()
        await method.stream(call)

    async def _encode(self, call: Call, method: Method, response: Any) -> bytes:
        """The bytes of a response; long requests are expected to get long ones."""
        if method.limits == SMALL:
            return call.encode(response)
        return await self._decoding.run(call.encode, response)

    async def _reply(
        self, call: Call, method: Method, account: MethodAccount
    ) -> tuple[bool, str]:
        """Run a request-reply method; whether to go on, and what happened."""
        assert method.request is not None  # noqa: S101 - see above
        assert method.reply is not None  # noqa: S101 - see above
        call.write(b"\n")
        call.channel.flush()
        try:
            request: Any = await call.receive(method.request)
        except (DecodeError, RemoteProtocolError) as error:
            self._accounting.note(error)
            call.write(error_line(str(error)))
            # Otherwise what follows cannot be told from a method line.
            is_usable = isinstance(error, DecodeError) and error.in_step
            return is_usable, str(error)
        started_s, is_error = self._clock.seconds(), True
        try:
            response = await method.reply(call.caller, request)
            self_sending = isinstance(response, SelfSending)
            encoded = (
                b"" if self_sending else await self._encode(call, method, response)
            )
            is_error = False
        except Exception as error:
            if not _is_meant_for_client(error):
                call.write(error_line("internal error"))
                raise
            call.write(error_line(str(error)))
            return True, str(error)
        finally:
            duration_ms = (self._clock.seconds() - started_s) * 1000
            account.reply(duration_ms, is_error=is_error)
        call.write(b"\n" + encoded)
        if self_sending:
            await response.send_to(call)
        return True, "ok"


def _is_meant_for_client(error: Exception) -> bool:
    """Whether an error says what is wrong, and not that this program is."""
    return isinstance(error, ImageServerError) and not isinstance(
        error, GobTypeError | LocalProtocolError
    )
