"""A copy of this machine's root that can be changed at will, and is gone afterwards.

It is an overlay on ``/`` in namespaces of its own: mounts, processes, network. What is
installed and started in there is not seen outside, and ends with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_HOLDER = r"""
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount -t tmpfs tmpfs "$1/root/run"
mount --rbind /dev "$1/root/dev"
# What a machine has that was booted, and runs no systemd.
rm -f "$1/root/usr/sbin/policy-rc.d" "$1/root/sbin/runlevel"
printf '#!/bin/sh\necho N 2\n' > "$1/root/sbin/runlevel"
chmod 755 "$1/root/sbin/runlevel"
ip link set lo up
echo ready
read -r end
"""
_NEEDED = ("unshare", "nsenter", "ip", "chroot", "mount")


class ScratchRoot:
    """A root to work in.

    Args:
        directory: where it is mounted; is seen in there, too.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "root"
        self._holder = subprocess.Popen(
            [
                "unshare",
                *("--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"),
                *("sh", "-c", _HOLDER, "sh", str(directory)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            _, reason = self._holder.communicate()
            raise OSError(f"there can be no scratch root: {reason.strip()}")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self._init = children.read_text().split()[0]

    def run(
        self, *command: str, code: int | None = 0, input_: str | None = None
    ) -> str:
        """What a command prints, as root, with nobody to ask.

        Args:
            command: the program and its arguments.
            code: how it has to end; None: in any way.
            input_: what it can read.
        """
        done = subprocess.run(
            [
                "nsenter",
                *(f"--target={self._init}", "--mount", "--pid", "--net", "--ipc"),
                *("chroot", str(self._path), *command),
            ],
            check=False,
            input=input_,
            stdin=None if input_ is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
        assert code is None or done.returncode == code, done.stdout
        return done.stdout

    def close(self) -> None:
        """End everything in there, and forget it."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(30)
        for stream in (self._holder.stdout, self._holder.stderr):
            assert stream is not None
            stream.close()


def obstacle() -> str:
    """Why there can be no scratch root on this machine; empty: there can."""
    if os.geteuid() != 0:
        return "only root can mount"
    missing = [program for program in _NEEDED if shutil.which(program) is None]
    return f"missing: {', '.join(missing)}" if missing else ""
