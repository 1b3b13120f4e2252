"""From where objects may be imported: ``docs/security.md``, "Imports"."""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from imageserver.errors import ConfigError, RequestError

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*)"
)
_PORTS = {"http": 80, "https": 443}
_LONGEST = 2_000  # characters


@attrs.frozen
class Source:
    """The root of a part of a web server.

    Attributes:
        scheme: ``http`` or ``https``.
        host: its name or address, in small letters.
        port: its port.
        path: the components of the path.
    """

    scheme: str
    host: str
    port: int
    path: tuple[str, ...]

    @classmethod
    def parse(cls, url: str) -> Source:
        """Take a URL apart.

        Only what everybody reads in the same way is taken: no user, query, fragment,
        escape, empty or dotted component. So nobody is led elsewhere than it says.

        Raises:
            ValueError: the URL is of another form.
        """
        found = _URL.fullmatch(url) if len(url) <= _LONGEST else None
        if found is None:
            raise ValueError("not a plain http or https URL")
        port = int(found["port"] or _PORTS[found["scheme"]])
        path = tuple(found["path"].strip("/").split("/")) if found["path"] else ()
        if path == ("",):
            path = ()
        if not 0 < port < 1 << 16 or {"", ".", ".."}.intersection(path):
            raise ValueError("not a plain http or https URL")
        return cls(found["scheme"], found["host"].lower(), port, path)

    def contains(self, other: Source) -> bool:
        """Whether ``other`` is the same, or below it."""
        return (
            (self.scheme, self.host, self.port)
            == (other.scheme, other.host, other.port)
        ) and other.path[: len(self.path)] == self.path

    def below(self, *names: str) -> Source:
        """A part of this part."""
        return attrs.evolve(self, path=(*self.path, *names))

    @property
    def url(self) -> str:
        """As a URL; it does not end in a slash."""
        return "/".join((f"{self.scheme}://{self.host}:{self.port}", *self.path))


class ImportSources:
    """Those parts of web servers from which objects may be imported."""

    def __init__(self, urls: Iterable[str] = ()) -> None:
        """Allow what is below these URLs; nothing else.

        Raises:
            ConfigError: one of them is none.
        """
        self._sources = []
        for url in urls:
            try:
                self._sources.append(Source.parse(url))
            except ValueError as error:
                raise ConfigError(f"-importSources: {error}: {url!r}") from error

    def find(self, url: str) -> Source:
        """What a client may mean by a URL.

        Raises:
            RequestError: it must not be imported from.
        """
        try:
            wanted = Source.parse(url)
        except ValueError as error:
            raise RequestError(
                f"cannot import from {url[:_LONGEST]!r}: {error}"
            ) from error
        if not any(source.contains(wanted) for source in self._sources):
            raise RequestError(f"imports from {url} are not allowed (-importSources)")
        return wanted
