"""Files that set flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from imageserver.errors import ConfigError
from imageserver.flags import STRING, Flag, FlagSet
from imageserver.tool.flag_files import read_flag_files

FLAGS = FlagSet([Flag("host", STRING, "localhost", ""), Flag("port", STRING, "1", "")])


def write(folder: Path, name: str, text: str) -> None:
    """Write a file of a tool named ``tool``."""
    (folder / "tool").mkdir(parents=True, exist_ok=True)
    (folder / "tool" / name).write_text(text)


def test_order(tmp_path: Path) -> None:
    """Later files win: the user's over the machine's, extra over default."""
    system, home = tmp_path / "system", tmp_path / "home"
    own = home / ".config"
    read = read_flag_files(FLAGS, "tool", str(home), system)
    assert read == {"host": "localhost", "port": "1"}
    for folder, name, expected in (
        (system, "flags.default", "a"),
        (system, "flags.extra", "b"),
        (own, "flags.default", "c"),
        (own, "flags.extra", "d"),
    ):
        write(folder, name, f"# comment\nhost={expected}\n")
        read = read_flag_files(FLAGS, "tool", str(home), system)
        assert read == {"host": expected, "port": "1"}
    assert read_flag_files(FLAGS, "tool", None, system)["host"] == "b"


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mistakes of the machine are told, those of the user are errors."""
    system, home = tmp_path / "system", tmp_path / "home"
    write(system, "flags.default", "nonsense=1\n")
    assert read_flag_files(FLAGS, "tool", str(home), system)["host"] == "localhost"
    assert "Warning: " in capsys.readouterr().err
    write(home / ".config", "flags.extra", "nonsense=1\n")
    with pytest.raises(ConfigError, match=r"flags.extra: no such flag -nonsense"):
        read_flag_files(FLAGS, "tool", str(home), system)
