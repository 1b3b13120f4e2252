"""The init script, with a small fake in place of the daemon."""

from __future__ import annotations

import itertools
import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ODD = """/a 'b' "c" $HOME `id` $(id) \\ * ; & | \u00e4 \t -x\nsecond line"""
SCRIPT = Path(__file__).parents[2] / "init.d" / "imageserver"

# Adds a line about itself to the file "starts" beside it, then waits for a signal.
FAKE_DAEMON = """#!{interpreter}
import json, os, signal, sys, time
behaviour = {behaviour!r}
if behaviour == "ignores TERM":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGHUP, lambda *_: print("reloaded", flush=True))
with open(os.path.join(os.path.dirname(__file__), "starts"), "a") as starts:
    about = dict(pid=os.getpid(), args=sys.argv[1:], at=time.monotonic())
    starts.write(json.dumps(about) + "\\n")
print("hello from the daemon", flush=True)
while behaviour != "dies at once":
    signal.pause()
"""


def wait_until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    """Poll until the condition is true; fail the test if it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.02)


def group_exists(group: int) -> bool:
    """Whether any process, be it a zombie, is in the process group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Service:
    """The script under settings of its own, with every path below one directory.

    Args:
        root: directory for everything; its name must occur in no other command line.
        user: whom the daemon runs as, if the tests run as root.
        shell: what runs the script.
    """

    def __init__(self, root: Path, user: str, shell: str = "/bin/sh") -> None:
        self.root = root
        self.script = root / "init script"
        self.script.write_text(SCRIPT.read_text().replace("/bin/sh", shell))
        self.script.chmod(0o755)
        self.runner: list[str] = []
        self.daemon = root / "daemon"
        self.pidfile = root / "daemon pid"
        self.loop_pidfile = root / "loop pid"
        self.log_dir = root / "log dir"
        self.defaults = root / "defaults file"
        self.environment = {**os.environ, "IMAGESERVER_DEFAULTS": str(self.defaults)}
        self.set(
            DAEMON=self.daemon,
            PIDFILE=self.pidfile,
            LOOP_PIDFILE=self.loop_pidfile,
            LOG_DIR=self.log_dir,
            USERNAME=user,
            RESTART_DELAY="0.1",
            STOP_TIMEOUT="5",
        )
        self.install()

    def set(self, **variables: object) -> None:
        """Add lines to the defaults file."""
        with self.defaults.open("a") as file:
            for name, value in variables.items():
                file.write(f"{name}={shlex.quote(str(value))}\n")

    def install(self, behaviour: str = "") -> None:
        """Write the fake daemon."""
        self.daemon.write_text(
            FAKE_DAEMON.format(interpreter=sys.executable, behaviour=behaviour)
        )
        self.daemon.chmod(0o755)

    def popen(self, action: str) -> subprocess.Popen[str]:
        """Start an action, do not wait for its end."""
        return subprocess.Popen(
            [*self.runner, str(self.script), action],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, action: str) -> subprocess.CompletedProcess[str]:
        """Run an action to its end."""
        with self.popen(action) as process:
            try:
                stdout, stderr = process.communicate(timeout=30)
            finally:
                process.kill()
        return subprocess.CompletedProcess(action, process.returncode, stdout, stderr)

    def code(self, action: str) -> int:
        """Run an action, return its exit code only."""
        return self.run(action).returncode

    def starts(self) -> list[dict]:
        """What the fake daemon told about itself, one entry per start."""
        path = self.root / "starts"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True)]

    def start(self) -> int:
        """Start, wait for the daemon's first sign of life, return its pid."""
        before = len(self.starts())
        assert self.code("start") == 0
        wait_until(lambda: len(self.starts()) > before)
        return self.starts()[-1]["pid"]

    def pid(self) -> int | None:
        """The content of the daemon's pid file."""
        try:
            return int(self.pidfile.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def loop_pid(self) -> int:
        """The content of the loop's pid file."""
        return int(self.loop_pidfile.read_text())

    def processes(self) -> set[int]:
        """Living processes that have our directory in their command line."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if os.fsencode(self.root) in path.read_bytes():
                    found.add(int(path.parent.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def assert_nothing_left(self) -> None:
        """There is no pid file and no process."""
        assert not self.pidfile.exists()
        assert not self.loop_pidfile.exists()
        assert not self.processes()

    def clean_up(self) -> None:
        """Kill whatever is left; twice, as a loop may start a daemon in between."""
        for _ in range(2):
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        wait_until(lambda: not self.processes())


@pytest.fixture(params=["dash", "bash"])
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service that is not running; blanks in all its paths."""
    root = tmp_path / "with blanks"
    root.mkdir()
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"there is no {request.param} on this machine")
    service = Service(root, pwd.getpwuid(os.geteuid()).pw_name, shell)
    yield service
    service.clean_up()


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else; leads a group, as a loop does."""
    process = subprocess.Popen(["sleep", "100"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_life_cycle(service: Service) -> None:
    """Status follows start and stop, and stop leaves no pid file and no process."""
    assert service.code("status") == 3
    pid = service.start()
    assert service.pid() == pid
    assert service.code("status") == 0
    loop = service.loop_pid()
    assert service.processes() == {pid, loop}
    assert os.getsid(pid) == os.getsid(loop) == loop
    assert service.code("stop") == 0
    service.assert_nothing_left()
    assert service.code("status") == 3


def test_arguments(service: Service) -> None:
    """PROG_ARGS come first and are split; values with blanks arrive whole."""
    service.set(
        PROG_ARGS="-portNum=1 -debug  /*",
        ARCHIVE_MODE="1",
        IMAGE_DIR="/the images",
        OBJECT_DIR=ODD,
        IMAGE_SERVER_HOSTNAME="master",
        LOG_QUOTA="10 MiB",
        LOGBUF_LINES="200",
    )
    service.start()
    (start,) = service.starts()
    assert start["args"][:3] == ["-portNum=1", "-debug", "/*"]
    assert sorted(start["args"][3:]) == [
        "-archiveMode=true",
        "-imageDir=/the images",
        "-imageServerHostname=master",
        f"-logDir={service.log_dir}",
        "-logQuota=10 MiB",
        "-logbufLines=200",
        f"-objectDir={ODD}",
    ]


def test_no_arguments(service: Service) -> None:
    """Variables that are not set add no flag, and so the flags files decide."""
    service.start()
    assert service.starts()[0]["args"] == [f"-logDir={service.log_dir}"]


def test_fd_limit(service: Service) -> None:
    """FD_LIMIT is the daemon's limit of open files."""
    service.set(FD_LIMIT="77")
    limits = Path(f"/proc/{service.start()}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if "open files" in line]
    assert line.split()[3:5] == ["77", "77"]


def test_output_is_logged(service: Service) -> None:
    """What the daemon prints is in a file in LOG_DIR, until it starts again."""
    service.log_dir.mkdir()
    log = service.log_dir / "imageserver.log"
    log.write_text("old\n")
    service.start()
    wait_until(lambda: log.read_text() == "hello from the daemon\n")


def test_killed_daemon_is_started_again(service: Service) -> None:
    """A daemon that is killed is followed by another one with its own pid file."""
    first = service.start()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(service.starts()) > 1)
    second = service.starts()[1]["pid"]
    assert second != first
    assert service.pid() == second
    assert service.code("status") == 0


def test_back_off(service: Service) -> None:
    """The delay doubles up to its maximum while the daemon dies at once."""
    service.install("dies at once")
    service.set(RESTART_DELAY_MAX="0.4")
    with service.popen("start"):
        wait_until(lambda: len(service.starts()) > 4)
    times = [start["at"] for start in service.starts()]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    for gap, delay in zip(gaps, [0.1, 0.2, 0.4, 0.4], strict=False):
        assert gap >= delay
    assert service.code("stop") == 0
    service.assert_nothing_left()


def test_stop_before_the_next_start(service: Service) -> None:
    """While the loop waits the status is 1, and stop ends the wait."""
    service.set(RESTART_DELAY="100")
    os.kill(service.start(), signal.SIGKILL)
    wait_until(lambda: not service.pidfile.exists())
    assert service.code("status") == 1
    loop = service.loop_pid()
    assert service.code("stop") == 0
    service.assert_nothing_left()
    # The sleeping command has no path of ours, but is in the loop's group.
    wait_until(lambda: not group_exists(loop))


def test_start_twice(service: Service) -> None:
    """The second start succeeds, says so, and starts nothing."""
    pid = service.start()
    processes = service.processes()
    second = service.run("start")
    assert second.returncode == 0
    assert "already running" in second.stdout
    assert service.processes() == processes
    assert service.pid() == pid


def test_starts_at_the_same_time(service: Service) -> None:
    """Of many starts at once exactly one starts something, even with stale files."""
    for path in (service.pidfile, service.loop_pidfile):
        path.write_text("4194305\n")  # above the largest pid Linux can have
    starts = [service.popen("start") for _ in range(6)]
    outputs = [start.communicate(timeout=30)[0] for start in starts]
    assert [start.returncode for start in starts] == [0] * 6
    assert sum("already running" in output for output in outputs) == 5
    wait_until(service.starts)
    assert service.processes() == {service.loop_pid(), service.starts()[0]["pid"]}


def test_stop_during_start(service: Service) -> None:
    """A stop that comes while a start is under way waits for it, and stops all."""
    with service.popen("start") as start:
        wait_until(service.loop_pidfile.exists)
        assert service.code("stop") == 0
        start.communicate(timeout=30)
    service.assert_nothing_left()
    assert service.code("status") == 3


@pytest.mark.parametrize("action", ["restart", "force-reload"])
def test_restart(service: Service, action: str) -> None:
    """A new loop and a new daemon take the place of the old ones."""
    old = {service.start(), service.loop_pid()}
    assert service.code(action) == 0
    wait_until(lambda: len(service.starts()) > 1)
    new = {service.starts()[1]["pid"], service.loop_pid()}
    assert service.processes() == new
    assert not new & old


def test_reload(service: Service) -> None:
    """The daemon is told, and goes on."""
    assert service.code("reload") == 7
    pid = service.start()
    assert service.code("reload") == 0
    log = service.log_dir / "imageserver.log"
    wait_until(lambda: "reloaded" in log.read_text())
    assert service.pid() == pid
    assert len(service.starts()) == 1


def test_reload_too_early(service: Service) -> None:
    """A daemon that is still busy with starting is not ended by it."""
    service.daemon.write_text("#!/bin/sh\nexec sleep 100\n")
    assert service.code("start") == 0
    pid = service.pid()
    assert service.code("reload") == 0
    assert service.code("status") == 0
    assert service.pid() == pid


def test_restart_of_nothing(service: Service) -> None:
    """Restart starts what was not running."""
    assert service.code("restart") == 0
    assert service.code("status") == 0


def test_stop_of_nothing(service: Service) -> None:
    """Stopping what does not run is a success."""
    assert service.code("stop") == 0
    service.assert_nothing_left()


def test_daemon_that_ignores_term(service: Service) -> None:
    """It gets STOP_TIMEOUT seconds, and then is killed."""
    service.install("ignores TERM")
    service.set(STOP_TIMEOUT="1")
    service.start()
    began = time.monotonic()
    assert service.code("stop") == 0
    assert time.monotonic() - began >= 1
    service.assert_nothing_left()


def test_killed_loop(service: Service) -> None:
    """A daemon without its loop counts as running and can still be stopped."""
    pid = service.start()
    loop = service.loop_pid()
    os.kill(loop, signal.SIGKILL)
    wait_until(lambda: service.processes() == {pid})
    assert service.code("status") == 0
    assert "use restart" in service.run("start").stdout
    assert service.processes() == {pid}
    assert service.code("stop") == 0
    service.assert_nothing_left()


def test_program_that_executes_another(service: Service) -> None:
    """A daemon whose command line does not name DAEMON is known by its group."""
    service.daemon.write_text("#!/bin/sh\nexec sleep 100\n")
    assert service.code("start") == 0
    pid = service.pid()
    wait_until(lambda: b"100" in Path(f"/proc/{pid}/cmdline").read_bytes())
    wait_until(lambda: service.processes() == {service.loop_pid()})
    assert service.code("status") == 0
    assert service.code("stop") == 0
    service.assert_nothing_left()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_dead_with_pid_file(service: Service) -> None:
    """A pid file of a process that is no more makes the status 1."""
    service.pidfile.write_text("4194305\n")
    assert service.code("status") == 1
    assert service.code("stop") == 0
    service.assert_nothing_left()


def test_foreign_pid(service: Service, bystander: subprocess.Popen[bytes]) -> None:
    """A process that only has a pid from our stale files is never signalled."""

    def forge() -> None:
        service.pidfile.write_text(f"{bystander.pid}\n")
        service.loop_pidfile.write_text(f"{bystander.pid}\n")

    forge()
    assert service.code("status") == 1
    assert service.code("stop") == 0
    service.assert_nothing_left()
    forge()
    pid = service.start()
    assert service.pid() == pid != bystander.pid
    assert service.code("stop") == 0
    forge()
    assert service.code("restart") == 0
    assert bystander.poll() is None


@pytest.mark.parametrize("content", ["", "\n", "x\n", "4194305", "4194305 x\n"])
def test_odd_pid_files(service: Service, content: str) -> None:
    """Whatever is in the pid files, stop succeeds and removes them."""
    # No 0, 1 or negative number here: an error would signal far more than the test.
    service.pidfile.write_text(content)
    service.loop_pidfile.write_text(content)
    assert service.code("status") == 1
    assert service.code("stop") == 0
    service.assert_nothing_left()


def test_not_installed(service: Service) -> None:
    """Without the program nothing is started, and a running one is left alone."""
    pid = service.start()
    service.daemon.chmod(0o644)
    restart = service.run("restart")
    assert restart.returncode == 5
    assert "not installed" in restart.stderr
    assert service.pid() == pid
    assert service.code("stop") == 0
    assert service.code("start") == 5
    service.assert_nothing_left()


@pytest.mark.parametrize("action", ["", "frobnicate"])
def test_bad_action(service: Service, action: str) -> None:
    """An unknown action, or none, gets the usage on stderr and exit code 2."""
    result = service.run(action)
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: ")
    assert not result.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
class TestAsRoot:
    """What only root can do."""

    def test_runs_as_user(self) -> None:
        """The daemon and its log belong to USERNAME, the pid files to root."""
        # pytest's own directories are closed to other users.
        root = Path(tempfile.mkdtemp())
        root.chmod(0o755)
        nobody = pwd.getpwnam("nobody")
        service = Service(root, "nobody")
        # The tests' interpreter may be closed to others as well.
        service.daemon.write_text("#!/bin/sh\nid -u; id -g\nexec sleep 100\n")
        try:
            assert service.code("start") == 0
            log = service.log_dir / "imageserver.log"
            wait_until(log.exists)
            wait_until(lambda: log.read_text() == f"{nobody.pw_uid}\n{nobody.pw_gid}\n")
            assert log.stat().st_uid == service.log_dir.stat().st_uid == nobody.pw_uid
            assert service.log_dir.stat().st_mode & 0o777 == 0o755
            assert service.pidfile.stat().st_uid == 0
            assert service.code("stop") == 0
            service.assert_nothing_left()
        finally:
            service.clean_up()
            shutil.rmtree(root)

    def test_started_by_somebody(self) -> None:
        """Who is not root can run all of it, below directories of their own."""
        root = Path(tempfile.mkdtemp())
        nobody = pwd.getpwnam("nobody")
        service = Service(root, "nobody")
        identity = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}")
        service.runner = ["setpriv", *identity, "--clear-groups", "--"]
        service.daemon.write_text("#!/bin/sh\nexec sleep 100\n")
        for path in (root, *root.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        try:
            assert service.code("start") == 0
            first = service.pid()
            assert first is not None
            assert Path(f"/proc/{first}").stat().st_uid == nobody.pw_uid
            os.kill(first, signal.SIGKILL)
            wait_until(lambda: service.pid() not in (None, first))
            assert service.code("status") == 0
            assert service.code("stop") == 0
            service.assert_nothing_left()
        finally:
            service.clean_up()
            shutil.rmtree(root)

    def test_unknown_user(self, service: Service) -> None:
        """A user that does not exist is an error of the configuration."""
        service.set(USERNAME="no such user")
        assert service.code("start") == 6
        service.assert_nothing_left()
