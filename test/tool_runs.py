"""Commands of the tools, run in a folder with a tree, against a daemon."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from processes import Daemon

PASSWD = "root:x:0:0::/root:/bin/sh\n"  # noqa: S105 - a file of that name
PASSWD_HASH = hashlib.sha512(PASSWD.encode()).hexdigest()
TOOL_HASH = hashlib.sha512(b"tool\n").hexdigest()
FILTER = "# comment\n/data/.*\n/var/log/(.*)\n"
TRIGGERS = [{"MatchLines": ["/etc/.*"], "Service": "ssh", "HighImpact": True}]
STATUS = """\
Package: bash
Status: install ok installed
Installed-Size: 6997
Version: 5.2-1

Package: gone
Status: deinstall ok config-files
Version: 1
"""
HEAD = "1     0     0"
ETC = f"drwxr-xr-x   {HEAD}                                     /etc"
PASSWD_LINE = f"-rw-r--r--   {HEAD}         26 TIME /etc/passwd {PASSWD_HASH}"


class Driver:
    """Runs command lines in one process."""

    def __init__(self, folder: Path, daemon: Daemon) -> None:
        self.folder = folder
        self._flags = {}
        for tool, server in (("imagetool", "image"), ("objecttool", "object")):
            self._flags[tool] = [
                f"-{server}ServerHostname=127.0.0.1",
                f"-{server}ServerPortNum={daemon.port}",
                f"-certDirectory={daemon.certificates.of('admin')}",
                "-quiet",
            ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tool_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env={
                **os.environ,
                "TZ": "UTC",
                "HOME": str(folder),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            text=True,
        )
        self.seen: set[tuple[str, str]] = set()

    def __call__(self, *words: str, tool: str = "imagetool") -> tuple[int, str, str]:
        """Exit code, standard output and standard error; flags come first."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = next(word for word in words if not word.startswith("-"))
        if words[-1] != "-h":
            self.seen.add((tool, command))
        argv = [tool, *self._flags[tool], *words]
        self._process.stdin.write(json.dumps(argv) + "\n")
        self._process.stdin.flush()
        code, out, err = json.loads(self._process.stdout.readline())
        return code, out, err

    def json(self, *words: str) -> object:
        """What a command prints as JSON."""
        code, out, err = self("-json", *words)
        assert (code, err) == (0, "")
        return json.loads(out)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def make_tree(root: Path) -> None:
    """A small tree."""
    for directory in ("etc", "usr/bin", "var/lib/dpkg", "data/sub"):
        (root / directory).mkdir(parents=True)
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/empty").touch()
    (root / "usr/bin/tool").write_text("tool\n")
    (root / "usr/bin/hard").hardlink_to(root / "usr/bin/tool")
    (root / "usr/bin/soft").symlink_to("tool")
    (root / "var/lib/dpkg/status").write_text(STATUS)
    (root / "data/sub/file").write_text("left out")
    os.mkfifo(root / "usr/fifo")
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (1_700_000_000, 1_700_000_000))


MOMENT = re.compile(r"\d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} \w+")
LATER = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}[0-9.]*")
TOOK = re.compile(r"[0-9][0-9.e+]*(ns|µs|ms|s)\b( \(\d+ \w+/s\))?")
COMPUTED = " with TOOK computation time"


def plain(text: str) -> str:
    """Text without what is different each time."""
    text = LATER.sub("LATER", MOMENT.sub("TIME", text))
    return TOOK.sub("TOOK", text).replace(COMPUTED, "")
