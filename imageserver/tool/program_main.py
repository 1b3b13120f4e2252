"""The main function that the tools share."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import imageserver
from imageserver.errors import ConfigError, ImageServerError
from imageserver.flags import FlagSet, HelpRequested, Parsed, UsageError
from imageserver.tool.command import Command, Program
from imageserver.tool.connecting_flags import check_connecting
from imageserver.tool.flag_files import read_flag_files
from imageserver.tool.terminal import tell
from imageserver.tool.usage import describe_command, describe_program

OK = 0
FAILED = 1
MISUSED = 2
_HELP = ("-h", "-help", "--help")

Check = Callable[[Mapping[str, Any]], None]
Start = Callable[[Command, Sequence[str], Mapping[str, Any]], int]


def run_program(
    program: Program, argv: Sequence[str] | None, check: Check, start: Start
) -> int:
    """Run a tool.

    Args:
        program: which one.
        argv: the arguments without the program's name; ``None``: the process's.
        check: refuses values of flags with ``UsageError``.
        start: runs a command, with its arguments and the values of the flags.

    Returns:
        The exit code: 0, 1 after an error or for "no", 2 if the arguments are wrong.
    """
    arguments = sys.argv[1:] if argv is None else argv
    words: Sequence[str] = ()
    try:
        values = read_flag_files(program.flags, program.name, os.environ.get("HOME"))
    except ConfigError as error:
        tell(str(error))
        return FAILED
    try:
        parsed = program.flags.parse(arguments, values)
        words = parsed.arguments
        if answer := _answer(program, parsed):
            print(answer, end="")
            return OK
        command = program.find(parsed.arguments)
        check_connecting(program.flags, parsed.values)
        check(parsed.values)
    except HelpRequested:
        print(describe_program(program), end="")
        return OK
    except ConfigError as error:
        tell(str(error))
        if isinstance(error, UsageError):
            _tell_usage(program, words)
        return MISUSED
    return start(command, parsed.arguments[1:], parsed.values)


def starter(flags: FlagSet, settings_type: type[Any], sessions: str) -> Start:
    """What runs the commands of a tool.

    Args:
        flags: its flags.
        settings_type: takes their values.
        sessions: the module that runs commands which talk to the server.
    """

    def start(
        command: Command, arguments: Sequence[str], values: Mapping[str, Any]
    ) -> int:
        settings = flags.decode(values, settings_type)
        if command.local:
            return run_locally(command, settings, arguments)
        # Twisted takes time to load, which local commands do without; looking for
        # garbage meanwhile would take a tenth more.
        gc.disable()
        code: int = importlib.import_module(sessions).run_with_session(
            command, arguments, settings
        )
        return code

    return start


def run_locally(command: Command, settings: Any, arguments: Sequence[str]) -> int:
    """Run a command that needs no server; the exit code."""
    try:
        code: int = command.load()(settings, *arguments)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ImageServerError, OSError) as error:
        tell(command.explain(error, arguments))
        return FAILED
    return code


def _tell_usage(program: Program, words: Sequence[str]) -> None:
    """Tell how it is to be; people, from whom the error would scroll away, in short."""
    if not sys.stderr.isatty():
        print(describe_program(program), end="", file=sys.stderr)
    elif words and (command := program.command(words[0])):
        text = f"{program.name} [flags...] {command.name} {command.arguments}".rstrip()
        tell(f'hint: {text}; "{program.name} {command.name} -h" tells more')
    else:
        tell(f'hint: "{program.name} -h" lists flags and commands')


def _answer(program: Program, parsed: Parsed) -> str:
    """The text that a command line asks for that asks for no more; else empty."""
    if parsed.values["version"]:
        return f"{program.name} {imageserver.__version__}\n"
    arguments = parsed.arguments
    if arguments == ["help"]:
        return describe_program(program)
    name = ""
    if len(arguments) == 2 and arguments[1] in _HELP:
        name = arguments[0]
    elif len(arguments) == 2 and arguments[0] == "help":
        name = arguments[1]
    command = program.command(name)
    return describe_command(program, command) if command else ""
