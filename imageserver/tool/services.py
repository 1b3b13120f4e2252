"""What happens to services when files change: the triggers of an image, run here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence

import attrs

from imageserver.errors import ImageServerError
from imageserver.model.filter import Matcher
from imageserver.model.triggers import Trigger
from imageserver.model.version_sort import version_key

RESTART = "restart"
RELOAD = "reload"
_LIMIT_S = 600.0
_STANDARD_ERROR = 2


@attrs.frozen
class Actions:
    """What some changes ask for.

    Attributes:
        services: names of services, in order, and what is to happen to them.
        reboots: whether the machine is to be rebooted behind that.
    """

    services: tuple[tuple[str, str], ...]
    reboots: bool


def choose(triggers: Iterable[Trigger], paths: Sequence[bytes]) -> Actions:
    """What triggers ask for when some paths have changed.

    A service that one trigger restarts need not be reloaded for another one. If the
    machine is to be rebooted, only the services that ask for that are seen to.
    """
    matched = [item for item in triggers if _matches(item, paths)]
    matched.sort(key=lambda trigger: version_key(trigger.sort_name))
    reboots = [trigger for trigger in matched if trigger.do_reboot]
    services: dict[str, str] = {}
    for trigger in reboots or matched:
        is_reload = trigger.do_reload and not trigger.do_reboot
        if not is_reload:
            services[trigger.service] = RESTART
        else:
            services.setdefault(trigger.service, RELOAD)
    services.pop("", None)
    return Actions(tuple(services.items()), bool(reboots))


def _matches(trigger: Trigger, paths: Sequence[bytes]) -> bool:
    matcher = Matcher(trigger.match_lines)
    return any(matcher.matches(path) for path in paths)


def perform(actions: Actions, tell: Callable[[str], object]) -> None:
    """Do it; blocks.

    Args:
        actions: what to do.
        tell: told of each.

    Raises:
        ImageServerError: a service has failed, and the machine is not rebooted; the
            others were seen to.
    """
    failed = []
    for name, action in actions.services:
        tell(f"Action: service {name} {action}")
        if reason := _run("service", name, action):
            failed.append(f"{name} ({reason})")
    if failed:
        text = "; not rebooted" if actions.reboots else ""
        raise ImageServerError(f"services that failed: {', '.join(failed)}{text}")
    if actions.reboots:
        tell("Rebooting")
        if reason := _run("reboot", "-f"):
            raise ImageServerError(f"cannot reboot: {reason}")


def _run(*command: str) -> str:
    """Run a program; why it has failed, or nothing."""
    try:
        # Not through a pipe: a service may hold on to it as long as it runs.
        done = subprocess.run(  # noqa: S603 - whoever made the image has named it
            command,
            stdin=subprocess.DEVNULL,
            stdout=_STANDARD_ERROR,
            check=False,
            timeout=_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return str(error)
    return f"exit code {done.returncode}" if done.returncode else ""
