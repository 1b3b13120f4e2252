"""Takes the pictures in ``docs/images``: ``make screenshots``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gallery import fill
from playwright.sync_api import Browser, expect
from processes import Certificates, Daemon, wait_until
from visitor import Visitor, open_browser, write_history

from imageserver.web.history import HISTORY_FILE

_IMAGES = Path(__file__).parents[1] / "docs" / "images"
_WIDE = {"viewport": {"width": 1280, "height": 900}}
_NARROW = {"viewport": {"width": 390, "height": 844}}
_PICTURES = (
    ("status", "/", _WIDE),
    ("status-dark", "/", _WIDE | {"color_scheme": "dark"}),
    ("images", "/listImages", _WIDE),
    ("image", "/showImage?base/web/2", _WIDE),
    ("folder", "/browse?base/web/2&path=/usr/share", _WIDE),
    ("compare", "/compareImages?base/web/1&with=base/web/2", _WIDE),
    ("phone", "/", _NARROW),
)


def main() -> None:
    """Take all pictures."""
    _IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates(Path(directory) / "certificates")
        daemon = Daemon(Path(directory) / "daemon", certificates)
        write_history(daemon.images / HISTORY_FILE)
        daemon.start("-openPages=files,flags,logs,stacks")
        try:
            fill(daemon, 12)
            wait_until(lambda: b'"images": 13' in daemon.get("/?output=json"))
            with open_browser() as browser:
                _take(browser, daemon)
        finally:
            daemon.stop()


def _take(browser: Browser, daemon: Daemon) -> None:
    for name, address, options in _PICTURES:
        visitor = Visitor(browser, daemon, **options)
        page = visitor.open(address)
        if name == "status":
            page.wait_for_timeout(25_000)  # some samples, for the small charts
            page = visitor.open(address)
        if name == "compare":
            page.locator("summary").click()
            expect(page.locator("details .added").last).to_be_visible()
        page.wait_for_timeout(500)
        page.screenshot(path=_IMAGES / f"{name}.png")
        visitor.context.close()


if __name__ == "__main__":
    main()
