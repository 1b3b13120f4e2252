"""A copy of this machine's root that can be changed at will, and is gone afterwards.

It is an overlay on ``/`` in namespaces of its own: mounts, processes, network. What is
installed and started in there is not seen outside, and ends with it. It is a machine
without systemd, or one that systemd has booted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from processes import wait_until

_BEGIN = r"""
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount --rbind /dev dev
ip link set lo up
rm -f usr/sbin/policy-rc.d
mkdir outside
pivot_root . outside
umount -l /outside
"""
# What a machine has that was booted, and runs no systemd.
_SIMPLE = r"""
rm -f /sbin/runlevel
printf '#!/bin/sh\necho N 2\n' > /sbin/runlevel
chmod 755 /sbin/runlevel
echo ready
read -r end
"""
# Nothing but what services need; nothing that changes the kernel, which is everybody's.
_SYSTEMD = r"""
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
rm -f /etc/systemd/system/*.wants/*
cd /etc/systemd/system
ln -sf /lib/systemd/system/basic.target default.target
for unit in systemd-sysctl.service systemd-binfmt.service systemd-modules-load.service \
    systemd-remount-fs.service proc-sys-fs-binfmt_misc.automount tmp.mount; do
    ln -sf /dev/null "$unit"
done
mkdir -p /etc/tmpfiles.d
ln -sf /dev/null /etc/tmpfiles.d/tmp.conf  # what is to be installed may be in /tmp
cd /
echo ready
exec env -i container=scratch PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --show-status=0 > /dev/null 2>&1
"""
_START = """
if [ -n "$2" ]; then echo $$ > "$2/cgroup.procs"; fi
exec unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child \
    sh -c "$0" sh "$1"
"""
_NEEDED = ("unshare", "nsenter", "ip", "mount", "pivot_root")


class ScratchRoot:
    """A root to work in.

    Args:
        directory: where it is mounted.
        systemd: whether it is booted by systemd.
    """

    def __init__(self, directory: Path, systemd: bool = False) -> None:
        self._group = _make_group() if systemd else None
        self._holder = subprocess.Popen(
            [
                *("sh", "-c", _START, _BEGIN + (_SYSTEMD if systemd else _SIMPLE)),
                *(str(directory), str(self._group or "")),
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
        if systemd:
            running = ("systemctl", "is-system-running")
            wait_until(lambda: self.run(*running, code=None).strip() == "running")

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
            ["nsenter", f"--target={self._init}", "--all", *command],
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
        self._holder.kill()  # and with it all that runs in there
        self._holder.wait(30)
        for stream in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            assert stream is not None
            stream.close()
        if self._group is not None:
            wait_until(lambda: self._group is None or _remove_group(self._group))


def obstacle() -> str:
    """Why there can be no scratch root on this machine; empty: there can."""
    if os.geteuid() != 0:
        return "only root can mount"
    missing = [program for program in _NEEDED if shutil.which(program) is None]
    return f"missing: {', '.join(missing)}" if missing else ""


def _make_group() -> Path:
    """A control group for what systemd starts: it makes others below it."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split()
        if kind == "cgroup2":
            group = Path(mounted) / f"scratch-root-{os.getpid()}"
            group.mkdir()
            return group
    raise OSError("there can be no scratch root: no control groups")


def _remove_group(group: Path) -> bool:
    """Remove what is empty; whether all was."""
    for path in sorted(group.rglob("*"), reverse=True):
        if path.is_dir():
            with suppress(OSError):
                path.rmdir()
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def somewhere(directory: Path, systemd: bool = False) -> Iterator[ScratchRoot]:
    """A root to work in, for a fixture; its tests are skipped if there can be none."""
    if obstacle():
        pytest.skip(obstacle())
    if systemd and not Path("/lib/systemd/systemd").exists():
        pytest.skip("there is no systemd on this machine")
    try:
        root = ScratchRoot(directory, systemd)
    except OSError as error:
        pytest.skip(str(error))
    try:
        yield root
    finally:
        root.close()
