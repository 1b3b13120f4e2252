"""Other programs at work on our directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from imageserver.config import refuse_reference
from imageserver.errors import ConfigError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that we want to use."""
    directory = tmp_path / "images"
    directory.mkdir()
    return directory


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    """What stands for ``/proc``: an odd entry, and a process that is just ending."""
    processes = tmp_path / "proc"
    (processes / "17").mkdir(parents=True)
    (processes / "self").mkdir()
    return processes


def add(processes: Path, cwd: Path, *command: str, root: Path | str = "/") -> None:
    """A process with that command line."""
    process = processes / "4711"
    process.mkdir()
    (process / "cmdline").write_bytes("\0".join((*command, "")).encode())
    (process / "cwd").symlink_to(cwd)
    (process / "root").symlink_to(root)


@pytest.mark.parametrize(
    "command",
    [
        ("/usr/local/sbin/imageserver", "-imageDir={0}", "-debug"),
        ("imageserver", "--objectDir", "{0}"),
        ("./imageserver", "-imageDir=images"),
        ("./imageserver", "-imageDir=x/../images/.", "word"),
    ],
)
def test_found(
    processes: Path, directory: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """However the directory is written, who works on it is found."""
    (tmp_path / "x").mkdir()
    add(processes, tmp_path, *(word.format(directory) for word in command))
    text = rf"another imageserver \(process 4711\) uses {directory}"
    with pytest.raises(ConfigError, match=text):
        refuse_reference([tmp_path, directory], processes, [])
    refuse_reference([tmp_path], processes, [])


def test_container(processes: Path, directory: Path, tmp_path: Path) -> None:
    """A process with another root means another directory, unless it is the same."""
    command = ("imageserver", f"-imageDir={directory}", "-objectDir=/images")
    add(processes, tmp_path, *command, root=tmp_path / "elsewhere")
    refuse_reference([directory], processes, [])
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="another imageserver"):
        refuse_reference([directory], processes, [])


def test_flags_files(processes: Path, directory: Path, tmp_path: Path) -> None:
    """It may have its directories from the flags files."""
    flags = tmp_path / "flags"
    flags.write_text(f"imageDir={directory}\nbad line")
    add(processes, tmp_path, "imageserver")
    refuse_reference([directory], processes, [])
    with pytest.raises(ConfigError, match="another imageserver"):
        refuse_reference([directory], processes, [flags])


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("python3", "/usr/sbin/imageserver", "-imageDir={0}"),
        ("imageserver.old", "-imageDir={0}"),
        ("imageserver", "-nonsense", "-imageDir={0}"),
        ("imageserver", "-h", "-imageDir={0}"),
        ("imageserver", "-imageDir=/nonexistent"),
    ],
)
def test_others(processes: Path, directory: Path, command: tuple[str, ...]) -> None:
    """Our own daemon has a lock; other programs are none of our business."""
    add(processes, directory, *(word.format(directory) for word in command))
    refuse_reference([directory], processes, [])
