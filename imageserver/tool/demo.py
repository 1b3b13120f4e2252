"""``make demo``: a server with a real tree in it, on this machine, from nothing.

Everything happens below one scratch folder, with the commands that users have.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from imageserver.errors import ConfigError, ImageServerError
from imageserver.flags import BOOL, STRING, UINT, Flag, FlagSet, HelpRequested
from imageserver.trees.listing import list_image
from imageserver.trees.scan import scan_directory

_MARK = ".imageserver-demo"
_HOST = "127.0.0.1"
_IMAGE = "demo/tree"
_START_S = 30
_STOP_S = 30
_ADDED_BY_GET = (b"/var", b"/var/lib", b"/var/lib/initial-image")

FLAGS = FlagSet(
    [
        Flag("directory", STRING, "demo", "the scratch folder; made anew"),
        Flag("tree", STRING, "", "what to store (default: Python's own packages)"),
        Flag("portNum", UINT, 0, "port of the server; 0: any that is free"),
        Flag("once", BOOL, False, "stop after the round trip"),
    ]
)


@attrs.frozen
class Demo:
    """The values of the flags."""

    directory: str
    tree: str
    port_num: int
    once: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; the exit code."""
    try:
        parsed = FLAGS.parse(sys.argv[1:] if argv is None else argv)
        demo = FLAGS.decode(parsed.values, Demo)
    except HelpRequested:
        print(FLAGS.usage("demo"), end="")
        return 0
    except ConfigError as error:
        print(f"{error}\n{FLAGS.usage('demo')}", end="", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        _run(demo)
    except (ImageServerError, OSError, subprocess.CalledProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


def _run(demo: Demo) -> None:
    root = _fresh_folder(Path(demo.directory))
    tree = Path(demo.tree or sysconfig.get_paths()["purelib"]).resolve()
    port = demo.port_num or _free_port()
    certificates = root / "certificates"
    _say(f"Making a CA and certificates in {certificates}")
    common = ("-directory", str(certificates))
    for arguments in (
        ("ca", "-name", "demo CA"),
        ("server", "-hosts", f"localhost,{_HOST}", "server"),
        ("admin", "admin"),
    ):
        _command("imageserver-cert", arguments[0], *common, *arguments[1:], quiet=True)
    with _server(root, certificates, port) as url:
        flags = (
            f"-imageServerHostname={_HOST}",
            f"-imageServerPortNum={port}",
            f"-certDirectory={certificates / 'admin'}",
        )
        _round_trip(root, tree, (*flags, "-logDebugLevel=0"))
        _say(f"Status page: {url}")
        if not demo.once:
            tool = Path(sys.executable).with_name("imagetool")
            _say("Try: " + " ".join((str(tool), *flags, "show", _IMAGE)))
            _say("Ctrl-C ends the server.")
            with suppress(KeyboardInterrupt):
                signal.pause()
            _say("")
    _say("The server has stopped; what it stored is in " + str(root))


def _say(text: str) -> None:
    print(text, flush=True)


def _fresh_folder(root: Path) -> Path:
    """An empty folder; only one that an earlier demonstration made is emptied."""
    if root.exists():
        if not (root / _MARK).exists() and any(root.iterdir()):
            raise ConfigError(f"{root} is not ours: use another -directory")
        shutil.rmtree(root)
    root.mkdir(parents=True)
    (root / _MARK).touch()
    for name in ("images", "objects"):
        (root / name).mkdir()
    return root.resolve()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _command(name: str, *arguments: str, quiet: bool = False) -> None:
    program = str(Path(sys.executable).with_name(name))
    output = subprocess.DEVNULL if quiet else None
    subprocess.run([program, *arguments], check=True, stdout=output)  # noqa: S603 - ours


@contextmanager
def _server(root: Path, certificates: Path, port: int) -> Iterator[str]:
    """Run the daemon for the length of the block; gives the address of its page."""
    url = f"http://{_HOST}:{port}/"
    _say(f"Starting imageserver on {url} (log: {root / 'log'})")
    command = [
        str(Path(sys.executable).with_name("imageserver")),
        f"-portNum={port}",
        "-logDir=",
        f"-listenAddress={_HOST}",
        f"-imageDir={root / 'images'}",
        f"-objectDir={root / 'objects'}",
        f"-CAfile={certificates / 'CA.pem'}",
        f"-certFile={certificates / 'server' / 'cert.pem'}",
        f"-keyFile={certificates / 'server' / 'key.pem'}",
        "-permitRoot",
        "-openPages=files,flags,logs,stacks",  # it is for this machine only
    ]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - ours
            command, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_ready(process, url)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(url + "readiness", timeout=5):  # noqa: S310 - ours
                return
        except (urllib.error.URLError, OSError):
            try:
                code = process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            raise ConfigError(
                f"the server ended with code {code}: see its log"
            ) from None
    raise ConfigError("the server does not become ready: see its log")


def _round_trip(root: Path, tree: Path, flags: tuple[str, ...]) -> None:
    """Put a tree in, take it out, compare."""
    out = root / "out"
    _command("imagetool", *flags, "mkdir", "demo")
    _say(f"Adding {tree} as image {_IMAGE}")
    _command("imagetool", *flags, "add", _IMAGE, str(tree), "", "")
    _say(f"Taking it out again, into {out}")
    _command("imagetool", *flags, "get", _IMAGE, str(out))
    before, after = _listing(tree), _listing(out)
    added = after.keys() - before.keys()
    if before.items() - after.items() or not added <= set(_ADDED_BY_GET):
        raise ImageServerError("what came out is not what went in")
    _say(f"Compared {len(before)} names with their content and attributes: the same")


def _listing(path: Path) -> dict[bytes, bytes]:
    """A line for each name in a tree, by path; owners count only for root."""
    owners = "" if os.geteuid() == 0 else "ug"
    tree = scan_directory(str(path), None, lambda _files, _bytes: None)
    names = list_image(tree.file_system, skip_fields="mlugstd")
    return dict(
        zip(names, list_image(tree.file_system, skip_fields=owners), strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
