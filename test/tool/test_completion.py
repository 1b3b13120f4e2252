"""The scripts that complete command lines, in the shells that they are for."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from imageserver.errors import ImageServerError
from imageserver.tool.completion import SHELLS, complete
from imageserver.tool.imagetool import PROGRAM
from imageserver.tool.objecttool import PROGRAM as OBJECT_PROGRAM

# Stands for both tools: it knows some names, and notes what it is told.
FAKE = """\
#!/bin/sh
{ printf '%s|' "${0##*/}" "$@"; echo; } >> "$NOTES"
case " $* " in
*" -quiet -json=false list ")
  printf '%s\\n' base/1 base/2 'odd/$(touch here)' "odd/a 'b'";;
*" -quiet -json=false listdirs ") printf '.\\nbase  OwnerGroup=x\\nbase/a b\\n';;
esac
"""
# A line, and all that can stand for its last word.
LINES = {
    "imagetool de": ["delete", "delunrefobj"],
    "imagetool -com": ["-compress", "-computedFiles", "-computedFilesRoot"],
    "imagetool show b": ["base/1", "base/2"],
    "imagetool show i:base/1": ["i:base/1"],
    "imagetool show odd/": ["odd/$(touch here)", "odd/a 'b'"],
    "imagetool -imageServerHostname host --json show base/1": ["base/1"],
    "imagetool -imageServerHostname=host -json diff - i:x b": ["base/1", "base/2"],
    "imagetool mkdir b": ["base", "base/a b"],
    "imagetool show I:base/": ["I:base/a b"],
    "imagetool -certDirectory ./fold": ["./folder"],
    "imagetool -certDirectory=./fold": ["-certDirectory=./folder"],
    "imagetool get base/1 fold": ["folder"],
    "imagetool show d:fold": ["d:folder"],
    "imagetool chown base b": ["b"],
    "imagetool completion z": ["zsh"],
    "imagetool search x base/1 b": ["base/1", "base/2"],
    "imagetool -timeout 5s merge": ["merge-filters", "merge-triggers"],
    "objecttool te": ["test-bandwidth-from-server", "test-bandwidth-to-server"],
    "objecttool mget base fold": ["folder"],
}
QUERIES = {  # what the server is asked with
    "-quiet|-json=false|list|",
    "-quiet|-json=false|listdirs|",
    "-imageServerHostname|host|--json|-quiet|-json=false|list|",
    "-imageServerHostname=host|-json|-quiet|-json=false|list|",
}
ASKING = "imagetool|-srpcDefaultConnectTimeout=3s|"
# There the key inserts all that is offered, and the tool is run with it. The file
# of imagetool is read by the shell's settings, that of objecttool found by zsh.
BASH = """\
bind '"\\t": insert-completions'
source imagetool.bash; source objecttool.bash
"""
ZSH = """\
fpath=($PWD $fpath)
autoload -Uz compinit && compinit -u -D
source imagetool.zsh
all() { _main_complete; compstate[insert]=all compstate[list]= }
zle -C all complete-word all
bindkey '^I' all
"""
FISH = "source imagetool.fish; source objecttool.fish\n"


def needs(shell: str) -> pytest.MarkDecorator:
    """Skip a test where a shell is not installed."""
    return pytest.mark.skipif(not shutil.which(shell), reason=f"there is no {shell}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A home with the scripts and tools, and a folder to be completed."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "bin").mkdir()
    for program in (PROGRAM, OBJECT_PROGRAM):
        tool = tmp_path / "bin" / program.name
        tool.write_text(FAKE)
        tool.chmod(0o755)
        for shell in SHELLS:
            script = tmp_path / f"{program.name}.{shell}"
            script.write_text(complete(program, shell))
    (tmp_path / "objecttool.zsh").rename(tmp_path / "_objecttool")
    (tmp_path / "bashrc").write_text(BASH)
    (tmp_path / ".zshrc").write_text(ZSH)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    """What shells and tools find in their environment."""
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "NOTES": str(folder / "notes"),
        "TERM": "dumb",
        "ZDOTDIR": str(folder),
    }


def noted_queries(folder: Path) -> set[str]:
    """What the tool was asked for completion."""
    lines = (folder / "notes").read_text().splitlines()
    return {line.removeprefix(ASKING) for line in lines if line.startswith(ASKING)}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("bash --noprofile --rcfile bashrc -i", marks=needs("bash")),
        pytest.param("zsh -d -i", marks=needs("zsh")),
    ],
    ids=["bash", "zsh"],
)
def test_on_terminal(folder: Path, command: str) -> None:
    """Commands, flags, names and files are completed in their places, and quoted.

    Names come from the server that the line names, and are not expanded.
    """
    terminal, side = pty.openpty()
    with subprocess.Popen(
        command.split(),
        stdin=side,
        stdout=side,
        stderr=side,
        cwd=folder,
        env=environment(folder),
        start_new_session=True,
    ) as process:
        os.close(side)
        os.write(terminal, "".join(f"{line}\t\n" for line in LINES).encode())
        os.write(terminal, b"exit\n")
        shown = read_all(terminal)
    assert process.returncode == 0, shown
    lines = (folder / "notes").read_text().splitlines()
    told = [line for line in lines if not line.startswith(ASKING)]
    assert told == [
        "|".join([*line.split()[:-1], *words, ""]) for line, words in LINES.items()
    ]
    assert noted_queries(folder) == QUERIES
    assert not (folder / "here").exists()


def read_all(terminal: int) -> bytes:
    """What a terminal shows until nobody writes to it."""
    shown = bytearray()
    try:
        while piece := os.read(terminal, 1 << 16):
            shown += piece
    except OSError:  # so Linux tells that the other side was closed
        pass
    os.close(terminal)
    return bytes(shown)


@needs("fish")
def test_fish(folder: Path) -> None:
    """In fish, too; with what each command and flag is for."""
    script = FISH + "".join(f"echo '={line}'; complete -C '{line}'\n" for line in LINES)
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    offered = {}
    for part in done.stdout.split("\n="):
        line, *words = part.removeprefix("=").splitlines()
        offered[line] = [word.partition("\t")[0].removesuffix("/") for word in words]
    assert offered == LINES | {"imagetool chown base b": []}
    assert "\ndelete\tdelete an image; its name cannot be used again\n" in done.stdout
    assert "\n-compress\tcompress the tar file with gzip\n" in done.stdout
    assert noted_queries(folder) == QUERIES


@pytest.mark.parametrize("program", [PROGRAM, OBJECT_PROGRAM], ids=lambda p: p.name)
@pytest.mark.parametrize("shell", SHELLS)
def test_all_is_in_it(program, shell: str) -> None:
    """Each script knows all commands and flags."""
    script = complete(program, shell)
    for command in program.commands:
        assert command.name in script
    for flag in program.flags.flags:
        assert flag.name in script


def test_unknown_shell() -> None:
    """Other shells are not known."""
    with pytest.raises(ImageServerError, match="unknown shell: tcsh"):
        complete(PROGRAM, "tcsh")
