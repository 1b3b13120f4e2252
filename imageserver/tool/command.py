"""What a program of several commands is made of: one table, from which all help comes.

The usage text, the help of a command, manual pages, completion and the checks of the
command line are made from the same table. The code of a command is imported when it is
run, so that the others do not wait for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from imageserver.errors import ConfigError
from imageserver.flags import FlagSet, UsageError
from imageserver.tool.suggestion import suggest

_MANY = "..."


@attrs.frozen
class Command:
    """A command.

    Attributes:
        name: what it is called.
        arguments: their names, ``[OPTIONAL]`` and ``REPEATED...`` as shown.
        summary: what it does, in a few words.
        place: module and function that do it, like ``show:show_filter``; below the
            package of the tools.
        failure: begins the text of its errors; ``{0}`` stands for the first argument;
            empty: they have texts of their own.
        flags: names of the flags that it heeds, besides those for all.
        example: arguments and flags of an example, as typed behind the program's name.
        details: more about it, for its help and its manual page.
        topic: under which heading it is listed.
        local: whether it needs no server, and its function takes settings and
            arguments and returns the exit code without waiting for anything.
    """

    name: str
    arguments: str
    summary: str
    place: str
    failure: str
    flags: tuple[str, ...] = ()
    example: str = ""
    details: str = ""
    topic: str = ""
    local: bool = False

    @property
    def names(self) -> list[str]:
        """The names of its arguments, as shown."""
        return self.arguments.split()

    def check_count(self, count: int) -> None:
        """Refuse a wrong number of arguments.

        Raises:
            UsageError: there are too few of them, or too many.
        """
        least = sum(not name.startswith("[") for name in self.names)
        is_open = any(name.endswith((_MANY, _MANY + "]")) for name in self.names)
        if count < least or (count > len(self.names) and not is_open):
            raise UsageError(f"wrong number of arguments for {self.name}")

    def explain(self, error: Exception, arguments: Sequence[str]) -> str:
        """The text of an error."""
        failure = self.failure.format(*arguments)
        return f"{failure}: {error}" if failure else str(error)

    def load(self) -> Callable[..., Any]:
        """Its function."""
        module, _, function = self.place.partition(":")
        found: Callable[..., Any] = getattr(
            importlib.import_module(f"imageserver.tool.{module}"), function
        )
        return found


@attrs.frozen
class Program:
    """A program.

    Attributes:
        name: what it is called.
        summary: what it is for, in a few words.
        description: more about it, for its manual page.
        flags: its flags.
        commands: its commands.
    """

    name: str
    summary: str
    description: str
    flags: FlagSet
    commands: tuple[Command, ...]

    def __attrs_post_init__(self) -> None:
        known = {flag.name for flag in self.flags.flags}
        for command in self.commands:
            if unknown := set(command.flags) - known:
                raise ConfigError(f"{command.name} heeds unknown flags: {unknown}")

    def find(self, arguments: Sequence[str]) -> Command:
        """The command that a command line asks for.

        Args:
            arguments: what is behind the flags.

        Raises:
            UsageError: there is none, or it has other arguments.
        """
        if not arguments:
            raise UsageError("no command")
        command = self.command(arguments[0])
        if command is None:
            names = [command.name for command in self.commands]
            hint = suggest(arguments[0], names)
            raise UsageError(f"unknown command: {arguments[0]}{hint}")
        command.check_count(len(arguments) - 1)
        return command

    def command(self, name: str) -> Command | None:
        """A command by its name."""
        return next((c for c in self.commands if c.name == name), None)
