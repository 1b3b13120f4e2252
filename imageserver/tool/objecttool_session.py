"""Sessions of objecttool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from imageserver.tool.command import Command
from imageserver.tool.running import run
from imageserver.tool.session import Session
from imageserver.tool.settings import ObjectSettings

ObjectSession: TypeAlias = Session[ObjectSettings]


def run_with_session(
    command: Command, arguments: Sequence[str], settings: ObjectSettings
) -> int:
    """Run a command that talks to the server; the exit code."""
    host, port = settings.object_server_hostname, settings.object_server_port_num
    return run(
        command, arguments, lambda reactor: Session(reactor, settings, host, port)
    )
