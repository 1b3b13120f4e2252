"""Triggers that are run: what happens to which services, and in what order."""

from __future__ import annotations

from pathlib import Path

import pytest

from imageserver.errors import ImageServerError
from imageserver.model.triggers import Trigger
from imageserver.tool.services import Actions, choose, perform

PATHS = [b"/etc/ssh", b"/etc/ssh/config", b"/usr/bin/x\xff", b"/"]
RESTARTED = {"a": "restart"}
RELOADED = {"a": "reload"}


def trigger(service: str, line: str = "/etc/.*", **more: object) -> Trigger:
    """A trigger that matches, unless it gets another line."""
    return Trigger((line,), service, **more)


CHOICES = {
    "none": ([], {}, False),
    "nothing matches": ([trigger("a", "/var/.*")], {}, False),
    "one of its lines": ([Trigger(("/var/.*", "/usr/.*"), "a")], RESTARTED, False),
    "restart": ([trigger("a")], RESTARTED, False),
    "reload": ([trigger("a", do_reload=True)], RELOADED, False),
    "both": ([trigger("a", do_reload=True), trigger("a")], RESTARTED, False),
    "both, the other way": (
        [trigger("a"), trigger("a", do_reload=True)],
        RESTARTED,
        False,
    ),
    "only the reload matches": (
        [trigger("a", "/var/.*"), trigger("a", do_reload=True)],
        RELOADED,
        False,
    ),
    "no name": ([trigger("")], {}, False),
    "reboot": (
        [trigger("b"), trigger("a", do_reboot=True, do_reload=True)],
        RESTARTED,
        True,
    ),
    "reboot that does not match": (
        [trigger("a"), trigger("b", "/var/.*", do_reboot=True)],
        RESTARTED,
        False,
    ),
    "reboot without a service": ([trigger("", do_reboot=True)], {}, True),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choosing(case: str) -> None:
    """Each service once; a restart wins; a reboot takes only what asks for it."""
    triggers, services, reboots = CHOICES[case]
    assert choose(triggers, PATHS) == Actions(tuple(services.items()), reboots)


def test_order() -> None:
    """Services come in the order of their sort names, numbers as numbers."""
    names = ["9", "10", "", "x", "10"]
    triggers = [trigger(f"s{i}", sort_name=name) for i, name in enumerate(names)]
    chosen = choose(triggers, PATHS)
    assert [name for name, _ in chosen.services] == ["s2", "s0", "s1", "s4", "s3"]


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that note what they were to do; services named ``bad`` fail."""
    for name in ("service", "reboot"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\necho "${{0##*/}} $*" >> {tmp_path}/done\n'
            '[ "$1" != bad ] || exit 3\n'
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "done"


def test_performing(done: Path) -> None:
    """Services are seen to in order, then the machine is rebooted; each is told."""
    told: list[str] = []
    perform(Actions((("a", "restart"), ("b", "reload")), True), told.append)
    assert told == [
        "Action: service a restart",
        "Action: service b reload",
        "Rebooting",
    ]
    assert done.read_text() == "service a restart\nservice b reload\nreboot -f\n"


def test_failing(done: Path) -> None:
    """One that fails does not keep others from it, but the machine from rebooting."""
    actions = Actions((("bad", "restart"), ("b", "restart")), True)
    with pytest.raises(ImageServerError) as caught:
        perform(actions, lambda text: None)
    assert str(caught.value) == "services that failed: bad (exit code 3); not rebooted"
    assert done.read_text() == "service bad restart\nservice b restart\n"


def test_no_such_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without these programs, and a name that cannot be, are errors."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("a", "a\0b"):
        with pytest.raises(ImageServerError, match="services that failed: a"):
            perform(Actions(((name, "restart"),), False), lambda text: None)
    with pytest.raises(ImageServerError, match="cannot reboot: "):
        perform(Actions((), True), lambda text: None)
