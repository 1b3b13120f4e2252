"""What lets shells complete command lines, from the same table as all other help."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imageserver.errors import ImageServerError
from imageserver.flags import BOOL
from imageserver.tool.command import Command, Program
from imageserver.tool.completion_scripts import ASK, BASH, FISH, ZSH

SHELLS = ("bash", "zsh", "fish")

_IMAGES = {"NAME", "IMAGE", "LEFT", "RIGHT"}
_DIRECTORIES = {"DIRECTORY"}
_LOCAL_DIRECTORY = {"get", "patch-directory", "scan-filtered-files", "mget"}
_ONLY_THE_USER_KNOWS = {"BYTES", "GROUP", "HASH", "PATH", "PATTERN", "PERCENTAGE"}


def complete(program: Program, shell: str) -> str:
    """A script for a shell.

    Raises:
        ImageServerError: the shell is not known.
    """
    scripts = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if shell not in scripts:
        raise ImageServerError(f"unknown shell: {shell} (bash, zsh and fish are known)")
    return scripts[shell](program)


def _bash(program: Program) -> str:
    return _fill(
        BASH,
        program,
        commands=_quote("\n".join(name for name, _ in _commands(program))),
        flags=_quote("\n".join(name for name, _ in _flags(program))),
        cases=_cases(program, "{}) kind={};;"),
    )


def _zsh(program: Program) -> str:
    return _fill(
        ZSH,
        program,
        commands=_described(_commands(program)),
        flags=_described(_flags(program)),
        cases=_cases(program, "{}) kind={};;"),
    )


def _fish(program: Program) -> str:
    begin = f"complete -c {program.name} -n '_{program.name}_is commands'"
    commands = [
        f"{begin} -a {command.name} -d {_fish_quote(command.summary)}"
        for command in program.commands
    ]
    flags = [
        f"{begin} -o {flag.name}{'' if flag.kind is BOOL else ' -r -F'}"
        f" -d {_fish_quote(flag.help)}"
        for flag in program.flags.flags
    ]
    return _fill(
        FISH,
        program,
        commands="\n".join(commands),
        flags="\n".join(flags),
        cases=_cases(program, "case '{}'; set kind {}"),
    )


def _fill(script: str, program: Program, **texts: str) -> str:
    """Fill the gaps, ``%name%``, of a script."""
    valued = (flag.name for flag in program.flags.flags if flag.kind is not BOOL)
    texts |= {
        "program": program.name,
        "valued": " ".join(valued),
        "shells": " ".join(SHELLS),
    }
    script = script.replace("%ask%", ASK)
    return re.sub("%([a-z]+)%", lambda found: texts[found[1]], script)


def _cases(program: Program, form: str) -> str:
    """For each place of an argument, what goes there."""
    lines = [
        form.format(f"{command.name}:{place}", kind)
        for command in program.commands
        for place, kind in _places(command)
        if kind
    ]
    return "\n".join(f"    {line}" for line in lines)


def _places(command: Command) -> Iterator[tuple[str, str]]:
    """The place of each argument, and what it is; ``*`` are all places behind."""
    for index, name in enumerate(command.names):
        yield str(index), _kind(command, index)
        if "..." in name:
            yield "*", _kind(command, index)


def _kind(command: Command, index: int) -> str:
    """``images``, ``directories``, ``shells``, ``files``; or empty."""
    word = re.sub(r"[\[\].]", "", command.names[index])
    is_local = command.name in _LOCAL_DIRECTORY and index > 0
    if word in _IMAGES:
        return "images"
    if word in _DIRECTORIES and not is_local:
        return "directories"
    if word == "SHELL":
        return "shells"
    return "" if word in _ONLY_THE_USER_KNOWS else "files"


def _commands(program: Program) -> list[tuple[str, str]]:
    return [(command.name, command.summary) for command in program.commands]


def _flags(program: Program) -> list[tuple[str, str]]:
    return [(f"-{flag.name}", flag.help) for flag in program.flags.flags]


def _described(words: list[tuple[str, str]]) -> str:
    return "\n".join(_quote(f"{word}:{text}") for word, text in words)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
