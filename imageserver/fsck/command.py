"""The command ``imageserver-fsck``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

import imageserver
from imageserver.config import refuse_reference
from imageserver.disk import Disk, lock_directory
from imageserver.errors import ConfigError, ImageServerError
from imageserver.flags import (
    BOOL,
    STRING,
    Flag,
    FlagSet,
    HelpRequested,
    UsageError,
)
from imageserver.fsck.image_check import ImageCheck
from imageserver.fsck.index_check import check_index
from imageserver.fsck.object_check import check_objects
from imageserver.fsck.repair import repair
from imageserver.fsck.report import Report
from imageserver.index.sqlite import INDEX_FILE, SqliteIndex
from imageserver.quarantine import Quarantine
from imageserver.tool.progress import ProgressBar

PROGRAM = "imageserver-fsck"
_DAMAGED = 1
_MISUSED = 2
_FAILED = 3

FLAGS = FlagSet(
    [
        Flag("imageDir", STRING, "/var/lib/imageserver", "where images are"),
        Flag("objectDir", STRING, "/var/lib/objectserver", "where objects are"),
        Flag(
            "repair",
            BOOL,
            False,
            "put what is damaged aside, remove what is unfinished, rebuild the index",
        ),
        Flag("version", BOOL, False, "print the version and exit"),
    ]
)


@attrs.frozen
class Settings:
    """The values of the flags."""

    image_dir: str
    object_dir: str
    repair: bool
    version: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Check the data directories.

    Args:
        argv: the arguments without the program's name; ``None``: the process's.

    Returns:
        The exit code: 0 if nothing is wrong, 1 if there is damage, 2 if the arguments
        are wrong, 3 if the check could not be made.
    """
    try:
        parsed = FLAGS.parse(sys.argv[1:] if argv is None else argv)
        if parsed.arguments:
            raise UsageError(f"unexpected argument: {parsed.arguments[0]}")
    except HelpRequested:
        print(FLAGS.usage(PROGRAM), end="")
        return 0
    except UsageError as error:
        print(f"{error}\n{FLAGS.usage(PROGRAM)}", end="", file=sys.stderr)
        return _MISUSED
    settings = FLAGS.decode(parsed.values, Settings)
    if settings.version:
        print(f"{PROGRAM} {imageserver.__version__}")
        return 0
    images, objects = Path(settings.image_dir), Path(settings.object_dir)
    try:
        if settings.repair:
            _check_owner(images, objects)
        with _locked({images, objects}):
            return _DAMAGED if _run(images, objects, settings.repair) else 0
    except OSError as error:
        print(f"{PROGRAM}: {error.filename}: {error.strerror}", file=sys.stderr)
    except ImageServerError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
    return _FAILED


def _check_owner(*directories: Path) -> None:
    """What a repair makes has to belong to the daemon's user.

    Raises:
        ConfigError: it would not.
    """
    for directory in directories:
        if os.geteuid() != directory.stat().st_uid:
            raise ConfigError(f"-repair has to be run by the owner of {directory}")


@contextmanager
def _locked(directories: set[Path]) -> Iterator[None]:
    """Keep the daemon away.

    Raises:
        ConfigError: it is there.
    """
    locks: list[int] = []
    try:
        for directory in sorted(directories):
            locks.append(lock_directory(directory))
        refuse_reference(directories)
        yield
    finally:
        for descriptor in locks:
            os.close(descriptor)


def _run(image_directory: Path, object_directory: Path, repairing: bool) -> bool:
    """Check, tell, and perhaps repair; whether there is damage."""
    report = Report()
    shown = 0

    def tell() -> None:
        nonlocal shown
        for line in report.lines[shown:]:
            _print(line)
        shown = len(report.lines)

    with _progress("Objects") as advance:
        quarantine = Quarantine(object_directory, Disk())
        objects = check_objects(object_directory, quarantine, report, advance)
    tell()
    with _progress("Images") as advance:
        quarantine = Quarantine(image_directory, Disk())
        check = ImageCheck(image_directory, objects.sizes, quarantine)
        images = check.run(report, advance)
    tell()
    path = image_directory / INDEX_FILE
    index = SqliteIndex(path, object_directory, image_directory)
    check_index(index, objects, images, report)
    tell()
    _print(f"{len(objects.sizes)} good objects, {len(images.files)} good images")
    for line in report.summary():
        _print(line)
    if repairing:
        for line in repair(image_directory, object_directory, objects, images, report):
            _print(line)
    return report.damages > 0


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    with ProgressBar(title) as bar:
        yield bar.advance


def _print(line: str) -> None:
    """Print a line, whatever names there are in it."""
    data = line.replace("\n", "\\n").encode("utf-8", "backslashreplace")
    sys.stdout.buffer.write(data + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
