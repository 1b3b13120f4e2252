"""Manual pages of what is not in the table of the tools: ``make man``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

import imageserver
from imageserver import config
from imageserver.flags import FlagSet
from imageserver.fsck import command as fsck
from imageserver.tool import certificate
from imageserver.tool.roff import describe_flag, escape


@attrs.frozen
class Page:
    """What a manual page has besides flags.

    Attributes:
        name: of the program.
        section: of the manual.
        summary: what it does.
        arguments: what follows the flags.
        description: the same in more words.
        flags: what it takes.
        entries: further sections: lists of terms, and what they mean.
    """

    name: str
    section: int
    summary: str
    arguments: str
    description: str
    flags: FlagSet
    entries: Mapping[str, Mapping[str, str]]


PAGES = (
    Page(
        "imageserver",
        8,
        "stores file-system images and serves them to a fleet of machines",
        "",
        "It runs in the foreground. Flags are taken from the flags files first, then"
        " from the command line. Everything else is in the documents that come with"
        " it, from getting-started.md on.",
        config.FLAGS,
        {
            "SIGNALS": {
                "TERM, INT": "Stop.",
                "HUP": "Read certificates and filters again, begin a new log file.",
                "QUIT": "Show in the log what all threads do, then end.",
            },
            "EXIT STATUS": {
                "0": "It was stopped.",
                "1": "It cannot work; the text says why.",
                "2": "The command line is wrong, or it got QUIT.",
            },
            "FILES": {
                "/etc/imageserver/flags.default, /etc/imageserver/flags.extra": (
                    "Flags: a name=value a line."
                ),
                "/etc/default/imageserver": "Variables of the init script.",
                "/etc/ssl/CA.pem, /etc/ssl/imageserver/cert.pem, key.pem": (
                    "Whom it trusts, and who it is."
                ),
                "/var/lib/imageserver, /var/lib/objectserver": "Images and objects.",
                "/var/log/imageserver/latest": "The log.",
            },
            "SEE ALSO": {
                "imagetool(1), objecttool(1), imageserver-cert(1),": (
                    "imageserver-fsck(8)"
                ),
            },
        },
    ),
    Page(
        "imageserver-fsck",
        8,
        "checks the data of a stopped imageserver",
        "",
        "It reads all objects and images, looks whether the objects of images are"
        " there, and compares the index. Without -repair it changes nothing.",
        fsck.FLAGS,
        {
            "EXIT STATUS": {
                "0": "Nothing is wrong.",
                "1": "There is damage, also if it was repaired.",
                "2": "The command line is wrong.",
                "3": "The check could not be made.",
            },
            "SEE ALSO": {"imageserver(8)": "the server"},
        },
    ),
    Page(
        "imageserver-cert",
        1,
        "makes certificates for servers, people and programs",
        "COMMAND [NAME or FILE]",
        "The commands are ca, server NAME, replica NAME, admin NAME, user NAME,"
        " intermediate NAME, revoke [NAME], and show FILE; -h explains them.",
        certificate.FLAGS,
        {
            "EXIT STATUS": {
                "0": "Done.",
                "1": "That was not possible; the text says why.",
                "2": "The command line is wrong.",
            },
            "SEE ALSO": {"imageserver(8)": "the server"},
        },
    ),
)


def show(page: Page) -> str:
    """The page in the language of man."""
    title = f"{page.name.upper()} {page.section}"
    lines = [
        f'.TH {title} "" "imageserver {imageserver.__version__}"',
        ".SH NAME",
        f"{escape(page.name)} \\- {escape(page.summary)}",
        ".SH SYNOPSIS",
        f".B {escape(page.name)}",
        f"[flags...] {page.arguments}".rstrip(),
        ".SH DESCRIPTION",
        escape(page.description),
    ]
    for group in dict.fromkeys(flag.group for flag in page.flags.flags):
        lines.append(f'.SH "FLAGS: {group.upper()}"' if group else ".SH FLAGS")
        for flag in page.flags.flags:
            if flag.group == group:
                lines += describe_flag(flag)
    for heading, entries in page.entries.items():
        lines.append(f".SH {heading}")
        for term, meaning in entries.items():
            lines += [".TP", f".B {escape(term)}", escape(meaning)]
    return "\n".join(lines) + "\n"


def write_all(directory: Path) -> None:
    """Write the pages to ``man1`` and ``man8``."""
    for page in PAGES:
        folder = directory / f"man{page.section}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{page.name}.{page.section}"
        path.write_text(show(page), encoding="utf-8")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
