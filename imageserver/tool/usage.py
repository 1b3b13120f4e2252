"""The texts of ``-h``, for a program and for each of its commands."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from imageserver.flags import FlagSet
from imageserver.tool.command import Command, Program

_WIDTH = 79
_MARGIN = "    "


def describe_program(program: Program) -> str:
    """The usage text: flags, then commands by their topics."""
    lines = [program.flags.usage(program.name, "COMMAND [arguments...]").rstrip()]
    width = max(len(command.name) for command in program.commands)
    for topic in topics(program):
        lines += ["", f"{topic}:"]
        lines += [
            f"  {command.name:<{width}}  {command.arguments}".rstrip()
            for command in program.commands
            if command.topic == topic
        ]
    lines += ["", f'"{program.name} COMMAND -h" tells more about a command.']
    return "\n".join(lines) + "\n"


def topics(program: Program) -> list[str]:
    """The headings of a program's commands, in order."""
    return list(dict.fromkeys(command.topic for command in program.commands))


def describe_command(program: Program, command: Command) -> str:
    """What one command does, its flags and an example."""
    words = [program.name, "[flags...]", command.name, *command.names]
    lines = [f"Usage: {' '.join(words)}", ""]
    lines += textwrap.wrap(f"{sentence(command.summary)}", _WIDTH)
    for paragraph in paragraphs(command.details):
        lines += ["", *textwrap.wrap(paragraph, _WIDTH)]
    own = FlagSet(flag for flag in program.flags.flags if flag.name in command.flags)
    if command.flags:
        described = own.usage(program.name).splitlines()
        lines += ["", "Flags that it heeds, besides those for connecting:"]
        lines += [line for line in described[1:] if line.startswith(" ")]
    if command.example:
        lines += ["", "Example:", f"{_MARGIN}{program.name} {command.example}"]
    return "\n".join(lines) + "\n"


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text, each on one line."""
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            yield " ".join(paragraph.split())


def sentence(text: str) -> str:
    """Some words as a sentence."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")
