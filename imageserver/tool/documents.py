"""Commands that print documents about imagetool itself; and all manual pages.

``python -m imageserver.tool.documents PAGES SCRIPTS`` writes the manual pages of all
tools, and their completion scripts, for packages.
"""

from __future__ import annotations

import sys
from pathlib import Path

import imageserver
from imageserver.tool import imagetool, objecttool
from imageserver.tool.completion import complete
from imageserver.tool.roff import manual_page
from imageserver.tool.settings import Connecting

_PROGRAMS = (imagetool.PROGRAM, objecttool.PROGRAM)
_SHELLS = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}


def manual(_: Connecting) -> int:
    """Print the manual page of imagetool."""
    print(manual_page(imagetool.PROGRAM, imageserver.__version__), end="")
    return 0


def completion(_: Connecting, shell: str) -> int:
    """Print what lets a shell complete the commands of imagetool.

    Raises:
        ImageServerError: the shell is not known.
    """
    print(complete(imagetool.PROGRAM, shell), end="")
    return 0


def object_manual(_: Connecting) -> int:
    """Print the manual page of objecttool."""
    print(manual_page(objecttool.PROGRAM, imageserver.__version__), end="")
    return 0


def object_completion(_: Connecting, shell: str) -> int:
    """Print what lets a shell complete the commands of objecttool.

    Raises:
        ImageServerError: the shell is not known.
    """
    print(complete(objecttool.PROGRAM, shell), end="")
    return 0


def write_all(pages: Path, scripts: Path) -> None:
    """Write manual pages to one directory, scripts to one for each shell in another."""
    pages.mkdir(parents=True, exist_ok=True)
    for program in _PROGRAMS:
        page = manual_page(program, imageserver.__version__)
        (pages / f"{program.name}.1").write_text(page, encoding="utf-8")
        for shell, form in _SHELLS.items():
            folder = scripts / shell
            folder.mkdir(parents=True, exist_ok=True)
            script = complete(program, shell)
            (folder / form.format(program.name)).write_text(script, encoding="utf-8")


if __name__ == "__main__":
    write_all(*map(Path, sys.argv[1:]))
