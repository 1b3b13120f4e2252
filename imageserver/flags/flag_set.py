"""Flags, and the command lines and flags files that set them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from imageserver.errors import ConfigError
from imageserver.flags.kind import BOOL, STRING, Kind

_WIDTH = 79

_SettingsT = TypeVar("_SettingsT", bound=attrs.AttrsInstance)


class UsageError(ConfigError):
    """The command line is wrong; the text is Go's."""


class HelpRequested(Exception):
    """The command line asks for the usage text."""


@attrs.frozen
class Flag:
    """One flag.

    Attributes:
        name: without dashes.
        kind: what values it takes.
        default: a value of that kind: durations in nanoseconds, sizes in bytes.
        help: what it is for.
        group: the heading of the usage text under which it is described.
        least: the least value, for numbers.
        most: the largest one.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    group: str = ""
    least: int | None = None
    most: int | None = None


@attrs.frozen
class Parsed:
    """What a command line says.

    Attributes:
        values: of all flags, by name.
        arguments: what follows the flags.
        given: the names of the flags that the command line sets.
    """

    values: dict[str, Any]
    arguments: list[str]
    given: set[str]


class FlagSet:
    """The flags of one program.

    Args:
        flags: in the order of the usage text; names are unique.
    """

    def __init__(self, flags: Iterable[Flag]) -> None:
        self.flags = tuple(flags)
        self._by_name = {flag.name: flag for flag in self.flags}
        if len(self._by_name) != len(self.flags):
            raise ValueError("two flags have the same name")

    def defaults(self) -> dict[str, Any]:
        """The values of all flags where nothing was said about them."""
        return {flag.name: flag.default for flag in self.flags}

    def parse(
        self, argv: Sequence[str], values: Mapping[str, Any] | None = None
    ) -> Parsed:
        """Read a command line.

        Args:
            argv: the arguments, without the name of the program.
            values: what the flags are if not given; None means the defaults.

        Raises:
            UsageError: a flag is unknown, or has no value, or a bad one.
            HelpRequested: ``-h`` or ``-help`` is among the flags.
        """
        parsed = Parsed(self.defaults() | dict(values or {}), list(argv), set())
        while parsed.arguments:
            argument = parsed.arguments[0]
            if not argument.startswith("-") or argument == "-":
                break
            del parsed.arguments[0]
            if argument == "--":
                break
            self._parse_flag(argument, parsed)
        return parsed

    def parse_file_text(self, text: str, values: dict[str, Any]) -> set[str]:
        """Read a flags file: a ``name=value`` a line, without dashes or quotes.

        Args:
            text: the contents of the file.
            values: changed line by line, so that what stands before a bad line
                has taken effect when the error is raised.

        Returns:
            The names that the file sets.

        Raises:
            ConfigError: a line is not a flag and its value.
        """
        names = set()
        for line in map(str.strip, text.split("\n")):
            if not line or line.startswith(("#", ";")):
                continue
            name, equals, value = line.partition("=")
            name = name.rstrip()
            if not equals:
                raise ConfigError(f"bad line, cannot split name from value: {line}")
            if len(name.split()) > 1:
                raise ConfigError(f"bad line, name has whitespace: {line}")
            if name not in self._by_name:
                raise ConfigError(f"no such flag -{name}")
            values[name] = _parse_value(
                self._by_name[name], value.lstrip(), ConfigError
            )
            names.add(name)
        return names

    def decode(self, values: Mapping[str, Any], cls: type[_SettingsT]) -> _SettingsT:
        """Put values into an attrs class, ``CAfile`` into ``ca_file`` and so on.

        Args:
            values: by the names of the flags.
            cls: each of its attributes without a default is the value of the flag whose
                name has the same letters; other flags are left out.

        Raises:
            KeyError: the class has an attribute for which there is no flag.
        """
        names = {name.lower(): name for name in self._by_name}
        return cls(
            **{
                attribute.alias: values[names[attribute.name.replace("_", "").lower()]]
                for attribute in attrs.fields(cls)
                if attribute.default is attrs.NOTHING
            }
        )

    def show(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The values of all flags as text that a command line takes."""
        return {flag.name: flag.kind.show(values[flag.name]) for flag in self.flags}

    def usage(self, program: str, arguments: str = "") -> str:
        """Describe the flags.

        Args:
            program: the name of the program.
            arguments: what follows the flags, such as ``COMMAND [NAME]``.
        """
        lines = [f"Usage: {program} [flags...] {arguments}".rstrip()]
        for group in dict.fromkeys(flag.group for flag in self.flags):
            lines += ["", f"{group or 'Flags'}:"]
            for flag in self.flags:
                if flag.group == group:
                    lines += _describe(flag)
        return "\n".join(lines) + "\n"

    def _parse_flag(self, argument: str, parsed: Parsed) -> None:
        text = argument[2:] if argument.startswith("--") else argument[1:]
        if text.startswith(("-", "=")):
            raise UsageError(f"bad flag syntax: {argument}")
        name, equals, value = text.partition("=")
        flag = self._by_name.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpRequested
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals and flag.kind is BOOL:
            value = "true"
        elif not equals:
            if not parsed.arguments:
                raise UsageError(f"flag needs an argument: -{name}")
            value = parsed.arguments.pop(0)
        parsed.values[name] = _parse_value(flag, value, UsageError)
        parsed.given.add(name)


def _parse_value(flag: Flag, text: str, error: type[ConfigError]) -> Any:
    try:
        value = flag.kind.parse(text)
        _check_bounds(flag, value)
    except ValueError as fault:
        boolean = flag.kind is BOOL
        what = "invalid boolean value" if boolean else "invalid value"
        where = f"for -{flag.name}" if boolean else f"for flag -{flag.name}"
        raise error(f"{what} {_quote(text)} {where}: {fault}") from None
    return value


def _check_bounds(flag: Flag, value: Any) -> None:
    if flag.least is not None and value < flag.least:
        raise ValueError(f"at least {flag.kind.show(flag.least)}")
    if flag.most is not None and value > flag.most:
        raise ValueError(f"at most {flag.kind.show(flag.most)}")


def _quote(text: str) -> str:
    """Text in double quotes on one line, like Go's ``%q``."""
    return '"' + "".join(map(_quote_character, text)) + '"'


def _quote_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    # A surrogate stands for a byte of the command line that is not UTF-8.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _describe(flag: Flag) -> list[str]:
    default = flag.kind.show(flag.default)
    if flag.kind is STRING or not default:
        default = _quote(default)
    text = f"{flag.help} (default {default})"
    return [f"  -{flag.name} {flag.kind.name}", *_wrap(text, " " * 6)]


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
