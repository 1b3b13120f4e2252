"""Runs commands of the tools one after the other, in one process.

A process for each of them would take most of its time to load Twisted. This script
reads command lines, a JSON array each, and answers each with its exit code, and what
it has printed. The first word is the tool.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from imageserver.tool import imagetool, objecttool
from imageserver.tool.imagetool_flags import FLAGS
from imageserver.tool.imagetool_session import open_session
from imageserver.tool.objecttool_commands import FLAGS as OBJECT_FLAGS
from imageserver.tool.program_main import run_locally, run_program
from imageserver.tool.running import perform
from imageserver.tool.session import Session
from imageserver.tool.settings import ObjectSettings, Settings


def _session(reactor: Any, tool: Any, values: Any) -> tuple[Any, Any]:
    if tool is imagetool:
        settings = FLAGS.decode(values, Settings)
        return settings, lambda: open_session(reactor, settings)
    chosen = OBJECT_FLAGS.decode(values, ObjectSettings)
    host, port = chosen.object_server_hostname, chosen.object_server_port_num
    return chosen, lambda: Session(reactor, chosen, host, port)


async def run(reactor: Any, name: str, argv: list[str]) -> int:
    """Run one command line; the exit code."""
    tool = {"imagetool": imagetool, "objecttool": objecttool}[name]
    started: list[Any] = []

    def start(*what: Any) -> int:
        started.append(what)
        return 0

    code = run_program(tool.PROGRAM, argv, tool._check, start)
    if not started:
        return code
    command, arguments, values = started[0]
    settings, make = _session(reactor, tool, values)
    if command.local:
        return run_locally(command, settings, arguments)
    return await perform(command, arguments, make())


async def main(reactor: Any) -> None:
    """Run command lines until there are no more."""
    for line in sys.stdin:
        name, *argv = json.loads(line)
        streams = [
            io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape", newline="")
            for _ in range(2)
        ]
        with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
            code = await run(reactor, name, argv)
        out, err = (_text(stream) for stream in streams)
        print(json.dumps([code, out, err]), flush=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.detach()
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
