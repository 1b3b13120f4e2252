"""What lets shells complete command lines, from the same table as all other help."""

from __future__ import annotations

import re

from imageserver.errors import ImageServerError
from imageserver.flags import BOOL
from imageserver.tool.command import Command, Program

_IMAGES = {"NAME", "IMAGE", "LEFT", "RIGHT"}
_DIRECTORIES = {"DIRECTORY"}
_LOCAL_DIRECTORY = {"get", "patch-directory", "scan-filtered-files"}

_BASH = """\
_@_complete() {
  local word=${COMP_WORDS[COMP_CWORD]} command= position=0 index kind=
  local -a flags=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    local argument=${COMP_WORDS[index]}
    if [[ -n $command ]]; then position=$((position + 1))
    elif [[ $argument == -* ]]; then flags+=("$argument")
    elif [[ $argument == = ]]; then
      index=$((index + 1)); flags[-1]+="=${COMP_WORDS[index]}"
    elif [[ " %VALUED% " == *" ${COMP_WORDS[index - 1]#-} "* && \\
            ${COMP_WORDS[index - 1]} == -* ]]; then flags+=("$argument")
    else command=$argument
    fi
  done
  COMPREPLY=()
  if [[ -z $command && $word == -* ]]; then
    COMPREPLY=($(compgen -W "%FLAGS%" -- "$word")); return
  elif [[ -z $command ]]; then
    COMPREPLY=($(compgen -W "%COMMANDS%" -- "$word")); return
  fi
  case $command:$position in
%CASES%
  esac
  local words
  case $kind in
    images) words=$(@ "${flags[@]}" -quiet list 2>/dev/null);;
    directories) words=$(@ "${flags[@]}" -quiet listdirs 2>/dev/null | cut -d' ' -f1);;
    words:*) words=${kind#words:};;
    *) compopt -o default; return;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _@_complete @
"""
_ZSH = """\
#compdef @
autoload -U +X bashcompinit && bashcompinit
"""


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
    valued = [f.name for f in program.flags.flags if f.kind is not BOOL]
    cases = [
        f"    {command.name}:{position}) kind={_quote(kind)};;"
        for command in program.commands
        for position, kind in enumerate(_kinds(command))
        if kind
    ]
    cases += [
        f"    {command.name}:*) kind={_quote(_kinds(command)[-1])};;"
        for command in program.commands
        if command.arguments.endswith(("...", "...]")) and _kinds(command)[-1]
    ]
    script = _BASH.replace("@", program.name)
    for word, text in (
        ("%VALUED%", " ".join(valued)),
        ("%FLAGS%", " ".join(f"-{flag.name}" for flag in program.flags.flags)),
        ("%COMMANDS%", " ".join(command.name for command in program.commands)),
        ("%CASES%", "\n".join(cases)),
    ):
        script = script.replace(word, text)
    return script


def _zsh(program: Program) -> str:
    # zsh reads what bash needs.
    return _ZSH.replace("@", program.name) + _bash(program)


def _fish(program: Program) -> str:
    name = program.name
    lines = [f"complete -c {name} -f"]
    for flag in program.flags.flags:
        needs = "" if flag.kind is BOOL else " -r"
        lines.append(
            f"complete -c {name} -o {flag.name}{needs} -d {_fish_quote(flag.help)}"
        )
    for command in program.commands:
        lines.append(
            f"complete -c {name} -n __fish_use_subcommand -a {command.name}"
            f" -d {_fish_quote(command.summary)}"
        )
        seen = f"'__fish_seen_subcommand_from {command.name}'"
        for kind in dict.fromkeys(_kinds(command)):
            source = {
                "images": f"'({name} -quiet list 2>/dev/null)'",
                "directories": f"'({name} -quiet listdirs 2>/dev/null)'",
            }.get(kind)
            if kind.startswith("words:"):
                source = _fish_quote(kind.removeprefix("words:"))
            how = f"-a {source}" if source else "-F"
            lines.append(f"complete -c {name} -n {seen} {how}")
    return "\n".join(lines) + "\n"


def _kinds(command: Command) -> list[str]:
    """What each argument is: ``images``, ``directories``, ``words:``, or a file."""
    kinds = []
    for index, name in enumerate(command.names):
        word = re.sub(r"[\[\].]", "", name)
        is_local = command.name in _LOCAL_DIRECTORY and index > 0
        if word in _IMAGES:
            kinds.append("images")
        elif word in _DIRECTORIES and not is_local:
            kinds.append("directories")
        elif word == "SHELL":
            kinds.append("words:bash zsh fish")
        else:
            kinds.append("")
    return kinds


def _quote(text: str) -> str:
    return f"'{text}'"


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
