"""Runs the daemon: ``imageserver`` in the foreground, or ``twistd imageserver``."""

from __future__ import annotations

import gc
import os
import platform
import pwd
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogBeginner
from twisted.python.usage import Options as TwistdOptions

import imageserver
import twisted
from imageserver import config
from imageserver.config import Settings
from imageserver.errors import ConfigError, ImageServerError
from imageserver.flags import HelpRequested, UsageError
from imageserver.listening import inherited_descriptors
from imageserver.log_output import LogOutput, LogService
from imageserver.service import ImageServer
from imageserver.signals import Signals
from imageserver.supervision import Supervisor

PROGRAM = "imageserver"
_FAILED = 1
_MISUSED = 2
_DESCRIPTORS = 1 << 20
_SWITCH_INTERVAL_S = 0.001  # how long a busy thread may keep the reactor waiting

_log = Logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run in the foreground until SIGTERM or SIGINT.

    Args:
        argv: the arguments without the program's name; ``None``: the process's.

    Returns:
        The exit code: 0, or 1 after an error, or 2 if the arguments are wrong.
    """
    try:
        settings = config.parse(sys.argv[1:] if argv is None else argv)
        if settings.version:
            print(f"{PROGRAM} {imageserver.__version__}")
            return 0
        settings.check_user(os.geteuid())
    except HelpRequested:
        print(config.FLAGS.usage(PROGRAM), end="")
        return 0
    except UsageError as error:
        print(f"{error}\n{config.FLAGS.usage(PROGRAM)}", end="", file=sys.stderr)
        return _MISUSED
    except ConfigError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return _FAILED
    output = LogOutput(settings.log_options, time.time_ns)
    globalLogBeginner.beginLoggingTo([output], redirectStandardIO=False)
    output.start(redirect=True, owner=_owner(settings))
    sys.excepthook = output.crash
    try:
        config.check(settings, os.geteuid())
        _log_startup(settings)
        _run(settings, output)
    except ImageServerError as error:
        output.fail(f"{PROGRAM}: {error}")
        return _FAILED
    else:
        return 0
    finally:
        output.flush()


def _run(settings: Settings, output: LogOutput) -> None:
    """Run the reactor with the service on it.

    Raises:
        ImageServerError: the service could not be started, or had to stop.
    """
    from twisted.internet import reactor  # noqa: PLC0415 - not before it is needed

    errors: list[Exception] = []

    def fail(error: Exception) -> None:
        errors.append(error)
        if reactor.running:
            reactor.stop()

    service = make_service(reactor, settings, fail, output)
    service.privilegedStartService()

    def start() -> None:
        try:
            service.startService()
        except Exception as error:
            fail(error)

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    if errors:
        raise errors[0]


def make_service(
    reactor: Any,
    settings: Settings,
    failed: Callable[[Exception], None],
    output: LogOutput,
) -> ImageServer:
    """The service that ``settings`` describe.

    Raises:
        ImageServerError: it cannot be put together.
    """
    keep_pauses_short()
    _raise_descriptor_limit()
    drop = partial(_become, settings.username) if settings.username else lambda: None
    inherited = inherited_descriptors(reactor, os.environ)
    supervisor = Supervisor(reactor, os.environ, os.getpid())
    service = ImageServer(
        reactor,
        settings,
        drop,
        failed,
        supervisor,
        inherited,
        lambda: output.files,
    )

    def reload() -> None:
        _log.info("asked to reload")
        output.reopen()
        Deferred.fromCoroutine(service.reload()).addErrback(
            lambda failure: _log.failure("cannot reload", failure)
        )

    Signals(reactor, reload, output.flush).setServiceParent(service)
    return service


def keep_pauses_short() -> None:
    """Keep nobody waiting for long; to be called when all modules are loaded."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what is there now stays; looking for garbage in it takes 20 ms


def _log_startup(settings: Settings) -> None:
    if settings.log_at_startup:
        _log.info(
            "Startup: {program} {version} (Python {python}, Twisted {twisted})",
            program=PROGRAM,
            version=imageserver.__version__,
            python=platform.python_version(),
            twisted=twisted.__version__,
        )


def _raise_descriptor_limit() -> None:
    """Take as many files and connections as the system lets us, as Go does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, _DESCRIPTORS) if hard >= 0 else _DESCRIPTORS
    if wanted > soft >= 0:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _owner(settings: Settings) -> tuple[int, int] | None:
    """Whom the log is to belong to, if not to us.

    ``None`` also if there is no such user: that is told later, by :func:`_become`.
    """
    try:
        entry = pwd.getpwnam(settings.username)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


def _become(username: str) -> None:
    """Give up the rights of root."""
    try:
        entry = pwd.getpwnam(username)
    except KeyError:
        raise ConfigError(f"no such user: {username}") from None
    if entry.pw_uid == 0:
        raise ConfigError(f"{username} is root: use -permitRoot if you mean it")
    try:
        os.initgroups(username, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        raise ConfigError(f"cannot become {username}: {error.strerror}") from error
    os.environ["HOME"] = entry.pw_dir


class Options(TwistdOptions):
    """The flags, as ``twistd`` wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: Settings

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the arguments behind ``twistd imageserver``."""
        try:
            self.settings = config.parse(options or ())
            user_id = os.geteuid()
            if self.parent is not None and self.parent.get("uid"):
                user_id = self.parent["uid"]
            config.check(self.settings, user_id)
        except HelpRequested:
            print(config.FLAGS.usage(f"twistd {PROGRAM}"), end="")
            raise SystemExit(0) from None
        except UsageError as error:
            usage = config.FLAGS.usage(f"twistd {PROGRAM}")
            print(f"{error}\n{usage}", end="", file=sys.stderr)
            raise SystemExit(_MISUSED) from None
        except ConfigError as error:
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            raise SystemExit(_FAILED) from None


def makeService(options: Options) -> MultiService:
    """The service for ``twistd``."""
    from twisted.internet import reactor  # noqa: PLC0415 - not before it is needed

    settings = options.settings

    def failed(error: Exception) -> None:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        reactor.stop()

    output = LogOutput(settings.log_options, time.time_ns)
    try:
        service = make_service(reactor, settings, failed, output)
    except ImageServerError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        raise SystemExit(_FAILED) from None
    if settings.log_dir:
        LogService(reactor, output, _owner(settings)).setServiceParent(service)
    return service


if __name__ == "__main__":
    sys.exit(main())
