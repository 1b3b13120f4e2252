"""The scripts that complete command lines, run by bash."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from imageserver.errors import ImageServerError
from imageserver.tool.completion import complete
from imageserver.tool.imagetool import PROGRAM
from imageserver.tool.objecttool import PROGRAM as OBJECT_PROGRAM

FAKE = """
imagetool() {
  case " $* " in
    *" -quiet list ") echo base/1; echo base/2;;
    *" -quiet listdirs ") echo .; echo "base  OwnerGroup=x";;
  esac
}
complete_words() {
  COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
  _imagetool_complete 2> /dev/null
  echo "${COMPREPLY[*]}"
}
"""
LINES = {
    "de": "delete delunrefobj",
    "-com": "-computedFiles -compress -computedFilesRoot",
    "show b": "base/1 base/2",
    "-imageServerHostname host show base/1": "base/1",
    "-imageServerHostname = host -json diff - base/1 b": "base/1 base/2",
    "mkdir b": "base",
    "get base/1 b": "",
    "completion z": "zsh",
    "search x base/1 b": "base/1 base/2",
    "-timeout 5s merge": "merge-filters merge-triggers",
}


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash() -> None:
    """Commands, flags, images and directories are completed in their places."""
    script = complete(PROGRAM, "bash") + FAKE
    script += "\n".join(f"complete_words imagetool {line}" for line in LINES)
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True
    )
    assert dict(zip(LINES, done.stdout.split("\n"), strict=False)) == LINES


@pytest.mark.parametrize("program", [PROGRAM, OBJECT_PROGRAM], ids=lambda p: p.name)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
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
