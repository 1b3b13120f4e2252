"""Manual pages, from the same table as all other help."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imageserver.flags import STRING, Flag
from imageserver.tool.command import Command, Program
from imageserver.tool.usage import paragraphs, sentence, topics

_SECTION = "1"
_EXIT_CODES = (
    ("0", "Success."),
    ("1", 'An error, which is told on standard error; or "no".'),
    ("2", "The command line is wrong."),
    ("130", "It was interrupted."),
)


def manual_page(program: Program, version: str) -> str:
    """The manual page of a program, in the language of man.

    Args:
        program: the program.
        version: of the package.
    """
    name = program.name
    lines = [
        f'.TH {name.upper()} {_SECTION} "" "imageserver {version}" "User Commands"',
        ".SH NAME",
        f"{name} \\- {escape(program.summary)}",
        ".SH SYNOPSIS",
        f".B {name}",
        "[flags...] COMMAND [arguments...]",
        ".SH DESCRIPTION",
        escape(" ".join(program.description.split())),
    ]
    for topic in topics(program):
        lines.append(f".SH {topic.upper()}")
        for command in program.commands:
            if command.topic == topic:
                lines += _command(program, command)
    for group in dict.fromkeys(flag.group for flag in program.flags.flags):
        lines.append(f'.SH "FLAGS: {group.upper()}"' if group else ".SH FLAGS")
        for flag in program.flags.flags:
            if flag.group == group:
                lines += describe_flag(flag)
    lines.append(".SH EXIT STATUS")
    for code, text in _EXIT_CODES:
        lines += [".TP", f".B {code}", escape(text)]
    lines += [".SH FILES", *_files(name)]
    return "\n".join(lines) + "\n"


def _command(program: Program, command: Command) -> Iterator[str]:
    yield ".TP"
    words = f'.BI "{command.name} " "{escape(command.arguments)}"'
    yield words if command.arguments else f".B {command.name}"
    yield escape(sentence(command.summary))
    for paragraph in paragraphs(command.details):
        yield ".IP"
        yield escape(paragraph)
    if command.flags:
        flags = ", ".join(f"\\fB\\-{flag}\\fR" for flag in command.flags)
        yield ".IP"
        yield f"Flags: {flags}."
    if command.example:
        yield ".IP"
        yield f"\\fI{escape(f'{program.name} {command.example}')}\\fR"


def describe_flag(flag: Flag) -> Iterator[str]:
    """The lines about a flag."""
    yield ".TP"
    yield f'.BI \\-{flag.name} " {flag.kind.name}"'
    default = flag.kind.show(flag.default)
    if flag.kind is STRING or not default:
        default = f'"{default}"'
    yield escape(f"{sentence(flag.help)} Default: {default}")


def _files(name: str) -> Iterator[str]:
    yield ".TP"
    yield ".I ~/.ssl"
    yield escape(
        "Certificates and keys: NAME.cert with NAME.key, cert.pem with key.pem."
    )
    yield ".TP"
    yield f".I ~/.config/{name}/flags.default"
    yield f"Flags, a name=value a line; so in flags.extra, and in /etc/config/{name}."


def escape(text: str) -> str:
    """Text in which nothing is taken for a command."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)
