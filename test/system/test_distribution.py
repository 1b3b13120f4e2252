"""What ``pip`` installs: the wheel, and the source that a wheel can be made of."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import imageserver

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
NAME = f"imageserver-{imageserver.__version__}"
WHEEL = f"{NAME}-py3-none-any.whl"
BUILD = "from setuptools import build_meta; build_meta.build_{}({!r})"


def build(kind: str, tree: Path, directory: Path) -> None:
    """Have setuptools make something of a tree."""
    command = [sys.executable, "-c", BUILD.format(kind, str(directory))]
    done = subprocess.run(command, cwd=tree, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    directory = tmp_path_factory.mktemp("source")
    tree = directory / "tree"
    tree.mkdir()
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, files)):
        if (ROOT / name).is_file() and not name.startswith("test/"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    build("sdist", tree, directory)
    with tarfile.open(directory / f"{NAME}.tar.gz") as archive:
        archive.extractall(directory)  # noqa: S202 - we have just made it
    return directory / NAME


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """The wheel that is made of it."""
    build("wheel", source, source.parent)
    return source.parent / WHEEL


def test_source(source: Path) -> None:
    """It has what an operator needs."""
    for name in (
        "README.md",
        "docs/operations.md",
        "etc/default/imageserver",
        "etc/systemd/imageserver.service",
        "init.d/imageserver",
        "twisted/plugins/imageserver_plugin.py",
    ):
        assert (source / name).is_file(), name


def test_wheel(wheel: Path) -> None:
    """All modules, templates and static files are in it, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "imageserver").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert names == package | {"twisted/plugins/imageserver_plugin.py"}


def test_installed(wheel: Path, tmp_path: Path) -> None:
    """What was installed from it runs, and ``twistd`` knows it."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", tmp_path, wheel], check=True)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
        )
        return done.stdout.decode()

    where = "import imageserver, pathlib; print(pathlib.Path(imageserver.__file__))"
    assert run("-c", where).strip() == str(tmp_path / "imageserver" / "__init__.py")
    version = f"imageserver {imageserver.__version__}\n"
    assert run("-m", "imageserver.daemon", "-version") == version
    assert "imageserver" in run("-m", "twisted", "--help")
    for name in ("imageserver", "imagetool", "imageserver-cert", "imageserver-fsck"):
        assert (tmp_path / "bin" / name).is_file()
