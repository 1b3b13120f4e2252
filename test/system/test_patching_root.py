"""``patch-directory`` on the root of a machine, and the services that it concerns."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scratch_root import ScratchRoot, somewhere

from imageserver.gob.encoder import Encoder
from imageserver.model.triggers import Trigger, Triggers
from imageserver.testing import make_image

pytestmark = pytest.mark.system

TOOL = ("imageserver.tool.imagetool", "-quiet", "-runTriggers", "patch-directory")
TRIGGERS = (
    Trigger(("/etc/patched/a",), "reloaded", "10", do_reload=True),
    Trigger(("/etc/patched/b",), "later"),
    Trigger(("/usr/.*",), "other"),
    Trigger(("/etc/patched$",), "first", "9"),
)
RELOADED = "Action: service reloaded reload\n"
SERVICE = '#!/bin/sh\n[ -e /etc/patched/a ] && echo "$*" >> /etc/done\n'


@pytest.fixture
def root(tmp_path: Path) -> Iterator[ScratchRoot]:
    """A root with a program that notes what is to happen to services."""
    (tmp_path / "root").mkdir()
    yield from somewhere(tmp_path / "root")


def test_services(root: ScratchRoot, tmp_path: Path) -> None:
    """Services whose files changed are seen to, when all is in place; no others.

    When the update stops half-way none is, and a warning names them.
    """

    def patch(code: int, *names: str) -> str:
        files = {f"etc/patched/{name}": b"" for name in names}
        image = make_image(files, filter=None, triggers=Triggers(TRIGGERS))
        (tmp_path / "image").write_bytes(Encoder().encode(image))
        command = (sys.executable, "-m", *TOOL, f"l:{tmp_path / 'image'}", "/")
        return root.run(*command, code=code)

    root.run("tee", "/usr/sbin/service", input_=SERVICE)
    root.run("chmod", "755", "/usr/sbin/service")
    shown = patch(1, "a", "b@")  # a symbolic link to nowhere cannot be made
    assert "warning: these were not restarted or reloaded: first, reloaded\n" in shown
    assert "error patching directory: cannot create: /etc/patched/b: " in shown
    root.run("test", "!", "-e", "/etc/done")
    root.run("rm", "-r", "/etc/patched")
    assert patch(0, "a").endswith("service first restart\n" + RELOADED)
    assert patch(0, "a", "b") == "Made: /etc/patched/b\nAction: service later restart\n"
    done = root.run("cat", "/etc/done")
    assert done == "first restart\nreloaded reload\nlater restart\n"
