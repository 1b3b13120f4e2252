"""A browser, and somebody who looks at pages with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from processes import Daemon

from imageserver.web.history import HOUR_S, History, Stored

CHROMIUM = Path("/usr/bin/chromium")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


class Visitor:
    """A tab of a browser; what goes wrong in it is remembered.

    Attributes:
        page: the tab.
        problems: messages of the console, errors of scripts, answers that are errors.
    """

    def __init__(self, browser: Browser, daemon: Daemon, **options: Any) -> None:
        self._root = f"http://127.0.0.1:{daemon.port}"
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.problems: list[str] = []
        self.page.on("console", lambda it: self.problems.append(it.text))
        self.page.on("pageerror", lambda it: self.problems.append(str(it)))
        self.page.on("response", self._look)

    def _look(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status} {response.url}")

    def open(self, address: str) -> Page:
        """Open a page."""
        self.page.goto(self._root + address, wait_until="domcontentloaded")
        return self.page


def write_history(path: Path) -> None:
    """Let there be a month of history."""
    history = History(path, time.time)
    now_s = int(time.time())
    for hours in range(700, 0, -1):
        size = (1_000 - hours) * 70 + (hours % 50) * 200
        moment = now_s - hours * HOUR_S
        stored = Stored(
            moment, 13 - hours // 60, 90, size, size * 5 // 6, 1 << 40, 1 << 41
        )
        history.add(stored)
