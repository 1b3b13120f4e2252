"""The page of the documentation about commands, made from their table."""

from __future__ import annotations

from imageserver.tool.command import Program
from imageserver.tool.imagetool import PROGRAM
from imageserver.tool.objecttool import PROGRAM as OBJECT_PROGRAM
from imageserver.tool.usage import paragraphs, sentence, topics


def commands_page(notice: str) -> str:
    """``commands.md``."""
    lines = [
        "# Commands of imagetool and objecttool",
        notice,
        "[imagetool.md](imagetool.md) tells what they have in common. `imagetool"
        " COMMAND -h` says the same as this page, and so does the manual page.",
    ]
    for program in (PROGRAM, OBJECT_PROGRAM):
        lines.append(f"## {program.name}")
        for topic in topics(program):
            lines += _topic(program, topic)
        lines += [f"### Flags of {program.name}", _flags(program)]
    return "\n\n".join(lines) + "\n"


def _topic(program: Program, topic: str) -> list[str]:
    title = topic if program is PROGRAM else f"{topic} ({program.name})"
    lines = [f"### {title}"]
    for command in program.commands:
        if command.topic != topic:
            continue
        words = " ".join((command.name, *command.names))
        text = [f"`{words}`: {sentence(command.summary)}"]
        text += [paragraph for paragraph in paragraphs(command.details)]
        if command.flags:
            text.append(", ".join(f"`-{flag}`" for flag in command.flags))
        if command.example:
            text.append(f"`{program.name} {command.example}`")
        lines.append("* " + "<br>\n  ".join(text))
    return ["\n\n".join(lines[:1]), "\n".join(lines[1:])]


def _flags(program: Program) -> str:
    table = ["| flag | kind | default | |", "|---|---|---|---|"]
    for flag in program.flags.flags:
        default = flag.kind.show(flag.default)
        shown = f"`{default}`" if default else ""
        text = flag.help.replace("|", "\\|")
        table.append(f"| `-{flag.name}` | {flag.kind.name} | {shown} | {text} |")
    return "\n".join(table)
