"""Sessions of imagetool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from imageserver.tool.command import Command
from imageserver.tool.running import run
from imageserver.tool.session import Session
from imageserver.tool.settings import Settings

ImageSession: TypeAlias = Session[Settings]


def open_session(reactor: Any, settings: Settings) -> ImageSession:
    """A session with the server that the flags name."""
    return Session(
        reactor,
        settings,
        settings.image_server_hostname,
        settings.image_server_port_num,
        settings.master_image_server_hostname,
    )


def run_with_session(
    command: Command, arguments: Sequence[str], settings: Settings
) -> int:
    """Run a command that talks to the server; the exit code."""
    return run(command, arguments, lambda reactor: open_session(reactor, settings))
