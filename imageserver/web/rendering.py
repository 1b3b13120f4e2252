"""Makes pages of templates: ``web/templates``."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import attrs
from jinja2 import DictLoader, Environment, StrictUndefined

import imageserver
from imageserver.web import answer, links
from imageserver.web.answer import Answer
from imageserver.web.units import (
    shorten,
    show_bytes,
    show_count,
    show_duration,
    show_exact_moment,
    show_moment,
    show_percent,
    show_relative,
)
from imageserver.web.visit import Section, Visit

_NANOSECONDS = 1_000_000_000


class HostName:
    """The name of this machine; looked up once, as that may take long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._name = ""

    def find(self) -> str:
        """The name; blocks."""
        with self._lock:
            self._name = self._name or socket.getfqdn()
            return self._name


@attrs.frozen
class Frame:
    """What stands on every page.

    Attributes:
        host_name: finds the name of this machine.
        role: gives what this server is: ``master``, ``replica of X``.
        now_s: the time.
        alarms: gives how many things need somebody.
    """

    host_name: HostName
    role: Callable[[], str]
    now_s: Callable[[], float]
    alarms: Callable[[], int] = lambda: 0


def _edition() -> str:
    """Tells browsers whether they have the style sheet that goes with the pages."""
    texts = sorted(_read("static").items())
    return hashlib.blake2b(repr(texts).encode(), digest_size=6).hexdigest()


def _read(folder: str) -> dict[str, str]:
    """The files of a folder of this package, by name."""
    files = resources.files("imageserver.web") / folder
    return {file.name: file.read_text() for file in files.iterdir()}


@cache
def _make_environment() -> Environment:
    """All templates.

    They are read now: later the process may be somebody who cannot. Compiling all would
    take half a second; each is when it is first used.
    """
    environment = Environment(
        auto_reload=False,
        loader=DictLoader(_read("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=-1,
    )
    environment.filters.update(
        bytes=show_bytes,
        count=show_count,
        duration=show_duration,
        moment=show_moment,
        exact=show_exact_moment,
        shorten=shorten,
        encode=links.encode,
        show=show_name,
    )
    environment.globals.update(
        percent=show_percent,
        relative=show_relative,
        image_address=links.image_address,
        list_address=links.list_address,
        search_address=links.search_address,
        foreign_address=links.foreign_address,
        Section=Section,
        ns=_NANOSECONDS,
        edition=_edition(),
    )
    return environment


class Renderer:
    """Renders templates within the frame. May be used from any thread."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self._environment = _make_environment()

    def page(
        self, template: str, visit: Visit, *, http_status: int = 200, **values: Any
    ) -> Answer:
        """A page.

        Args:
            template: the name of the template.
            visit: who asks for what.
            http_status: the HTTP status.
            values: what the template shows.
        """
        now = time.localtime(self.frame.now_s())
        text = self._environment.get_template(template).render(
            visit=visit,
            now_s=self.frame.now_s,
            host=self.frame.host_name.find(),
            role=self.frame.role(),
            alarms=self.frame.alarms(),
            version=imageserver.__version__,
            time=time.strftime("%Y-%m-%d %H:%M:%S %Z", now),
            elapsed_ms=lambda: (time.perf_counter() - visit.started_s) * 1000,
            **values,
        )
        return answer.html(text, http_status)


def show_name(name: str | bytes) -> str:
    """A name that need not be text, as text."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    return name.encode("utf-8", "backslashreplace").decode()
