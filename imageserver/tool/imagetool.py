"""``imagetool``: makes, looks at and fetches images: ``docs/imagetool.md``."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

import imageserver
from imageserver.errors import ConfigError, ImageServerError, PeerClosed
from imageserver.flags import (
    BOOL,
    DURATION,
    INT,
    MINUTE,
    SECOND,
    STRING,
    UINT,
    Flag,
    FlagSet,
    HelpRequested,
    UsageError,
)
from imageserver.model.image_messages import (
    FindLatestImageRequest,
    ListSelectedImagesRequest,
)
from imageserver.model.version_sort import version_key
from imageserver.srpc.proxy import parse_proxy
from imageserver.tool.add import add
from imageserver.tool.get import fetch_image, get
from imageserver.tool.session import DiallingFailed, Session, Settings
from imageserver.trees.listing import list_image

PROGRAM = "imagetool"
_FAILED = 1
_MISUSED = 2
_INTERRUPTED = 130
_CLOSED_HINT = " (the server closed the connection; perhaps it refuses the certificate)"
_CLEANING_UP_S = 2.0
_SHORTEST_EXPIRATION = 15 * MINUTE

FLAGS = FlagSet(
    [
        Flag("imageServerHostname", STRING, "localhost", "name of the imageserver"),
        Flag("imageServerPortNum", UINT, 6971, "its port"),
        Flag(
            "certDirectory", STRING, "", "where your certificates are (default ~/.ssl)"
        ),
        Flag(
            "serverCAfile",
            STRING,
            "",
            "CA certificates by which to verify the server; empty: do not",
        ),
        Flag(
            "expiresIn", DURATION, 0, "how long the image is kept; 0: for ever", "add"
        ),
        Flag(
            "requiredPaths",
            STRING,
            "/etc:d,/etc/passwd:f,/usr:d,/usr/bin:d",
            "what an image with a filter must have",
            "add",
        ),
        Flag("timeout", DURATION, 0, "how long to wait for the image", "get, show"),
        Flag("skipFields", STRING, "", "columns to leave out: mlugstnd", "show"),
        Flag(
            "ignoreExpiring",
            BOOL,
            False,
            "leave images out that expire",
            "list, find-latest-image",
        ),
        Flag(
            "buildCommitId",
            STRING,
            "",
            "the commit or branch it was built from",
            "find-latest-image",
        ),
        Flag(
            "srpcProxy",
            STRING,
            "",
            "goes between: socks, socks4, socks4a, socks5 or srpc, and ://HOST:PORT",
        ),
        Flag(
            "srpcClientDoNotUseMethodPowers",
            BOOL,
            False,
            "let the server ignore what gives you power over methods",
        ),
        Flag(
            "srpcDefaultConnectTimeout",
            DURATION,
            15 * SECOND,
            "limit for connecting, and then for CONNECT with the TLS handshake",
        ),
        Flag(
            "srpcDefaultTlsHandshakeTimeout",
            DURATION,
            MINUTE,
            "limit for TLS handshakes",
        ),
        Flag(
            "srpcDefaultKeepAlivePeriod",
            DURATION,
            5 * MINUTE,
            "how often idle connections are probed",
        ),
        Flag("logDebugLevel", INT, -1, "0 tells how it goes"),
        Flag("version", BOOL, False, "print the version and exit"),
    ]
)


@attrs.frozen
class Command:
    """A sub-command.

    Attributes:
        name: what it is called.
        arguments: their names.
        help: what it does.
        run: from session and arguments to the exit code.
        failure: begins the text of its errors.
    """

    name: str
    arguments: tuple[str, ...]
    help: str
    run: Callable[..., Awaitable[int]]
    failure: str


async def _check(session: Session, name: str) -> int:
    return 0 if await (await session.images()).check_image(name) else _FAILED


async def _check_directory(session: Session, name: str) -> int:
    return 0 if await (await session.images()).check_directory(name) else _FAILED


async def _delete(session: Session, name: str) -> int:
    await (await session.images()).delete_image(name)
    return 0


async def _find_latest(session: Session, directory: str) -> int:
    settings = session.settings
    request = FindLatestImageRequest(
        settings.build_commit_id, directory, settings.ignore_expiring
    )
    name = await (await session.images()).find_latest_image(request)
    if not name:
        raise ImageServerError("no image found")
    _print_names([name])
    return 0


async def _list(session: Session) -> int:
    request = ListSelectedImagesRequest("", session.settings.ignore_expiring)
    names = await (await session.images()).list_selected_images(request)
    _print_names(sorted(names, key=version_key))
    return 0


async def _list_directories(session: Session) -> int:
    directories = await (await session.images()).list_directories()
    directories.sort(key=lambda directory: version_key(directory.name))
    width = max((len(directory.name) for directory in directories), default=0)
    lines = []
    for directory in directories:
        group = directory.metadata.owner_group
        owner = f"  OwnerGroup={group}" if group else ""
        lines.append(
            f"{directory.name.ljust(width) if owner else directory.name}{owner}"
        )
    _print_names(lines)
    return 0


async def _make_directory(session: Session, name: str) -> int:
    await (await session.images()).make_directory(name)
    return 0


async def _show(session: Session, name: str) -> int:
    image = await fetch_image(session, name)
    assert image.file_system is not None  # noqa: S101 - fetch_image has seen to it
    listing = list_image(image.file_system, skip_fields=session.settings.skip_fields)
    for line in listing:
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
    return 0


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "add",
            ("NAME", "TREE", "FILTER", "TRIGGERS"),
            "make an image of a directory or a tar file (FILTER and TRIGGERS: files or"
            ' "")',
            add,
            'error adding image: "{0}"',
        ),
        Command(
            "check", ("NAME",), "is there such an image?", _check, "error checking"
        ),
        Command(
            "check-directory",
            ("NAME",),
            "is there such a directory?",
            _check_directory,
            "error checking directory",
        ),
        Command(
            "delete", ("NAME",), "delete an image", _delete, "error deleting image"
        ),
        Command(
            "find-latest-image",
            ("DIRECTORY",),
            "print the name of the newest image in a directory",
            _find_latest,
            "error finding latest image",
        ),
        Command(
            "get",
            ("NAME", "DIRECTORY"),
            "unpack an image into a directory",
            get,
            "error getting image",
        ),
        Command(
            "list", (), "print the names of all images", _list, "error listing images"
        ),
        Command(
            "listdirs",
            (),
            "print all directories",
            _list_directories,
            "error listing directories",
        ),
        Command(
            "mkdir",
            ("NAME",),
            "make a directory",
            _make_directory,
            "error creating directory",
        ),
        Command(
            "show",
            ("NAME",),
            "list the files of an image",
            _show,
            "error showing image",
        ),
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool.

    Args:
        argv: the arguments without the program's name; ``None``: the process's.

    Returns:
        The exit code: 0, 1 after an error or for "no", 2 if the arguments are wrong.
    """
    try:
        parsed = FLAGS.parse(sys.argv[1:] if argv is None else argv)
        if parsed.values["version"]:
            print(f"{PROGRAM} {imageserver.__version__}")
            return 0
        command, arguments = _find_command(parsed.arguments)
        settings = FLAGS.decode(parsed.values, Settings)
        if not 0 < settings.image_server_port_num < 1 << 16:
            raise UsageError(f"no port: {settings.image_server_port_num}")
        if 0 < settings.expires_in < _SHORTEST_EXPIRATION:
            raise UsageError("Minimum expiration: 15m0s")
        _check_connecting(parsed.values)
    except HelpRequested:
        print(_usage(), end="")
        return 0
    except ConfigError as error:
        print(f"{error}\n{_usage()}", end="", file=sys.stderr)
        return _MISUSED
    return _run(command, arguments, settings)


def _check_connecting(values: Mapping[str, Any]) -> None:
    for flag in FLAGS.flags:
        is_limit = flag.name.startswith("srpcDefault")
        if is_limit and values[flag.name] <= 0:
            raise UsageError(f"-{flag.name} has to be more than 0")
    parse_proxy(values["srpcProxy"])


def _usage() -> str:
    lines = [FLAGS.usage(PROGRAM, "COMMAND [arguments...]"), "\nCommands:\n"]
    for command in COMMANDS.values():
        words = " ".join((command.name, *command.arguments))
        lines.append(f"  {words}\n        {command.help}\n")
    return "".join(lines)


def _find_command(arguments: Sequence[str]) -> tuple[Command, Sequence[str]]:
    if not arguments:
        raise UsageError("no command")
    command = COMMANDS.get(arguments[0])
    if command is None:
        raise UsageError(f"unknown command: {arguments[0]}")
    if len(arguments) - 1 != len(command.arguments):
        raise UsageError(f"wrong number of arguments for {command.name}")
    return command, arguments[1:]


def _run(command: Command, arguments: Sequence[str], settings: Settings) -> int:
    codes: list[int] = []
    sessions: list[Session] = []

    async def work(session: Session) -> None:
        session.start()
        try:
            codes.append(await command.run(session, *arguments))
        except DiallingFailed as error:
            print(error, file=sys.stderr)
        except BrokenPipeError:  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (ImageServerError, OSError) as error:
            prefix = command.failure.format(*arguments)
            hint = _CLOSED_HINT if isinstance(error, PeerClosed) else ""
            print(f"{prefix}: {error}{hint}", file=sys.stderr)
        except CancelledError:
            session.interrupted = True
        finally:
            session.stop()

    def begin(reactor: Any) -> Deferred[None]:
        session = Session(reactor, settings)
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
            return _FAILED
    return codes[0] if codes else _FAILED


def _interrupt(session: Session, working: Deferred[None]) -> Deferred[None] | None:
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


def _print_names(lines: Sequence[str]) -> None:
    data = "".join(f"{line}\n" for line in lines)
    sys.stdout.buffer.write(os.fsencode(data))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
