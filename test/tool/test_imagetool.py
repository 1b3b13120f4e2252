"""imagetool without a server, and its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from imageserver.client.credentials import load_key_pairs
from imageserver.errors import CertificateError, ConfigError
from imageserver.tool import demo
from imageserver.tool.authority import Authority, Validity
from imageserver.tool.imagetool import main
from imageserver.tool.pair_files import write_pair
from imageserver.tool.units import show_bytes, show_rate, show_seconds


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "no command"),
        (["dance"], "unknown command: dance"),
        (["check"], "wrong number of arguments for check"),
        (["list", "too", "many"], "wrong number of arguments for list"),
        (["-nonsense"], "flag provided but not defined: -nonsense"),
        (["delet"], "unknown command: delet (did you mean delete?)"),
        (["-streams=0", "list"], "-streams has to be more than 0"),
        (["-imageServerPortNum=0", "list"], "no port: 0"),
        (["-tagsToMatch=a", "list"], 'invalid value "a" for flag -tagsToMatch'),
        (
            ["-srpcDefaultConnectTimeout=0", "list"],
            "-srpcDefaultConnectTimeout has to be more than 0",
        ),
    ],
)
def test_mistakes(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong command line is exit code 2, what is wrong with it, and the usage."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith(text)
    assert "Usage: imagetool" in error


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["-expiresIn=1m", "list"], "Minimum expiration: 15m0s"),
        (["-srpcProxy=http://host:1", "list"], "unsupported proxy: http://host:1"),
        (["-filterFile=/none", "list"], "/none: No such file or directory"),
    ],
)
def test_bad_values(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value of a flag that makes no sense is exit code 2, and a line about it."""
    assert main(argv) == 2
    assert capsys.readouterr().err == f"{text}\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The usage names all flags and commands."""
    assert main(["-h"]) == 0
    usage = capsys.readouterr().out
    for word in (
        "-certDirectory",
        "NAME TREE FILTER TRIGGERS",
        "find-latest-image",
    ):
        assert word in usage


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is printed without a server."""
    assert main(["-version"]) == 0
    assert capsys.readouterr().out.startswith("imagetool ")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (100, "100 B"), (1 << 10, "1 KiB"), (2_303_000, "2249 KiB")],
)
def test_sizes(size: int, text: str) -> None:
    """Sizes look as users of imagetool know them."""
    assert show_bytes(size) == text


def test_times_and_rates() -> None:
    """Durations have three digits; no duration is no division by zero."""
    assert show_seconds(0.0171) == "17.1ms"
    assert show_seconds(2.351) == "2.35s"
    assert show_seconds(0.000542) == "542µs"
    assert show_rate(1024, 0).endswith("/s")


class TestCredentials:
    """Choosing among the certificates in a directory."""

    authority = Authority.create("CA", Validity.of_days(2))

    def issue(
        self, directory: Path, name: str, methods: tuple[str, ...], days=1
    ) -> None:
        """Make ``name.cert`` and ``name.key``."""
        pair = self.authority.issue(name, Validity.of_days(days), methods=methods)
        write_pair(pair, directory / f"{name}.cert", directory / f"{name}.key")

    def common_name(self, directory: Path) -> str:
        """Whom the best certificate is for."""
        pair = load_key_pairs(directory)[0]
        return pair.certificates[0].subject.rfc4514_string()

    def test_best(self, tmp_path: Path) -> None:
        """All methods beat many, many beat few, and then a longer life counts."""
        self.issue(tmp_path, "few", ("A.B",))
        self.issue(tmp_path, "longer", ("A.B",), days=2)
        assert self.common_name(tmp_path) == "CN=longer"
        self.issue(tmp_path, "many", ("A.B", "C.D"))
        assert self.common_name(tmp_path) == "CN=many"
        self.issue(tmp_path, "all", ("*.*",))
        assert self.common_name(tmp_path) == "CN=all"

    def test_none(self, tmp_path: Path) -> None:
        """No directory and an empty one are no certificate."""
        assert load_key_pairs(tmp_path / "nothing") == []
        assert load_key_pairs(tmp_path) == []

    def test_expired(self, tmp_path: Path) -> None:
        """An expired certificate is an error, not a silent choice of another."""
        self.issue(tmp_path, "old", (), days=-1)
        with pytest.raises(CertificateError, match="expired"):
            load_key_pairs(tmp_path)


def test_demo_leaves_foreign_folders_alone(tmp_path: Path) -> None:
    """A folder that no demonstration made is not emptied."""
    (tmp_path / "precious").touch()
    assert demo.main([f"-directory={tmp_path}", "-once"]) == 1
    assert (tmp_path / "precious").exists()
    with pytest.raises(ConfigError, match="is not ours"):
        demo._fresh_folder(tmp_path)
