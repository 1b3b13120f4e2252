"""The Debian package and its life on a machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import wait_until
from scratch_root import ScratchRoot, somewhere

import imageserver

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
INIT = "/etc/init.d/imageserver"
TOOL = ("imagetool", "-certDirectory=/etc/ssl/admin")
DATA = ("/var/lib/imageserver", "/var/lib/objectserver", "/var/log/imageserver")


@pytest.fixture(scope="module")
def package() -> Path:
    """The package, if it was built."""
    found = sorted(ROOT.glob(f"build/deb/imageserver_{imageserver.__version__}_*.deb"))
    if not found:
        pytest.skip('there is no package: "make deb" makes it')
    return found[-1]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[ScratchRoot]:
    """Somewhere to install it."""
    yield from somewhere(tmp_path, systemd=False)


@pytest.fixture
def booted(tmp_path: Path) -> Iterator[ScratchRoot]:
    """The same, booted by systemd."""
    yield from somewhere(tmp_path, systemd=True)


def certify(root: ScratchRoot) -> None:
    """Make the certificates that it needs."""
    for arguments in ("ca", "server imageserver", "admin admin"):
        kind, *name = arguments.split()
        root.run("imageserver-cert", kind, "-directory", "/etc/ssl", *name)
    root.run("chown", "-R", "imageserver:", "/etc/ssl/imageserver")


def newer(package: Path, directory: Path) -> Path:
    """The same as another version."""
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN" / "control"
    text = control.read_text()
    control.write_text(text.replace("\nVersion: ", "\nVersion: 1:"))
    path = directory / "newer.deb"
    command = ["dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return path


def test_version() -> None:
    """Package and program have the same version."""
    first = (ROOT / "debian/changelog").read_text().splitlines()[0]
    assert first.startswith(f"imageserver ({imageserver.__version__}) ")


def test_life(package: Path, root: ScratchRoot, tmp_path: Path) -> None:
    """It is installed, set up, started, upgraded, removed and purged; data stays."""
    said = root.run("dpkg", "--install", str(package))
    assert "not started, as there are no certificates yet" in said
    for path in DATA:
        assert root.run("stat", "-c", "%U %a", path) == "imageserver 755\n"
    root.run(INIT, "status", code=3)
    certify(root)
    assert root.run(INIT, "start") == "imageserver: started\n"
    url = "http://localhost:6971/readiness"
    ready = f"until curl --silent --fail {url}; do sleep 0.2; done"
    root.run("sh", "-c", ready)
    root.run(*TOOL, "mkdir", "base")
    root.run(*TOOL, "add", "base/1", "/etc/init.d", "", "")
    pid = root.run("cat", "/run/imageserver.pid")
    user = root.run("stat", "-c", "%U", f"/proc/{pid.strip()}")
    assert user == "imageserver\n"

    root.run("dpkg", "--install", str(newer(package, tmp_path)))
    root.run(INIT, "status")
    assert root.run("cat", "/run/imageserver.pid") != pid
    root.run("sh", "-c", ready)
    assert root.run(*TOOL, "list") == "base/1\n"

    root.run("dpkg", "--remove", "imageserver")
    assert root.run("pgrep", "-r", "DRST", "-u", "imageserver", code=1) == ""
    root.run("dpkg", "--purge", "imageserver")
    root.run("test", "!", "-e", "/usr/lib/imageserver")
    root.run("test", "!", "-e", INIT)
    for path in (*DATA, "/var/lib/imageserver/base/1", "/etc/ssl/imageserver/key.pem"):
        root.run("test", "-e", path)
    assert "imageserver" in root.run("getent", "passwd", "imageserver")

    # Where everything is there already, installing it starts it.
    assert "imageserver: started\n" in root.run("dpkg", "--install", str(package))
    root.run("sh", "-c", ready)
    assert root.run(*TOOL, "list") == "base/1\n"


# Asks all the time while the server is restarted, and prints how often it failed.
ASKING = """
failed=0
systemctl restart imageserver &
for _ in $(seq 30); do
    curl --silent --fail --max-time 30 -o /dev/null http://localhost:6971/healthz ||
        failed=$((failed + 1))
done
wait
echo "failed: $failed"
"""


def test_systemd(package: Path, booted: ScratchRoot) -> None:
    """Under the real systemd, with all its restrictions, it works and is watched."""

    def show(what: str) -> str:
        option = f"--property={what}"
        return booted.run("systemctl", "show", "--value", option, "imageserver").strip()

    booted.run("dpkg", "--install", str(package))
    assert booted.run("systemctl", "is-enabled", "imageserver") == "enabled\n"
    certify(booted)
    booted.run("systemctl", "start", "imageserver")
    assert show("StatusText") == "serving"
    booted.run(*TOOL, "mkdir", "base")
    booted.run(*TOOL, "add", "base/1", "/etc/init.d", "", "")
    booted.run("systemctl", "reload", "imageserver")
    log = "/var/log/imageserver/latest"
    wait_until(lambda: "loaded anew" in booted.run("cat", log))

    booted.run("systemctl", "stop", "imageserver")
    booted.run("systemctl", "start", "imageserver.socket")
    assert "failed: 0" in booted.run("sh", "-c", ASKING)

    directory = "/run/systemd/system/imageserver.service.d"
    booted.run("mkdir", "-p", directory)
    patience = "[Service]\nWatchdogSec=3\n"
    booted.run("tee", f"{directory}/patience.conf", input_=patience)
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "restart", "imageserver")
    booted.run("kill", "-s", "STOP", show("MainPID"))
    wait_until(lambda: show("NRestarts") != "0" and show("StatusText") == "serving")
    assert booted.run(*TOOL, "list") == "base/1\n"

    booted.run("dpkg", "--remove", "imageserver")
    states = booted.run(
        "systemctl", "is-active", "imageserver", "imageserver.socket", code=3
    )
    assert "\nactive" not in f"\n{states}"
    booted.run("dpkg", "--purge", "imageserver")
    booted.run("test", "-e", "/var/lib/imageserver/base/1")
