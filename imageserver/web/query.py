"""The query of a request: ``docs/pages.md``, "Addresses".

Pages about one thing have its name as the raw query, up to the first ``&``:
``/showImage?base/web/7&output=json``. Existing links do not encode it, so it is tried
as it is, then decoded. Parameters follow; one without ``=`` is a flag.
"""

from __future__ import annotations

from urllib.parse import unquote_plus, unquote_to_bytes

import attrs

_MOST_PARAMETERS = 100


@attrs.frozen
class Query:
    """What stands behind the question mark.

    Attributes:
        raw: as it was sent.
        parameters: what to read as parameters, in order; flags have ``None``.
        subject: what stands in front of the first ``&``.
    """

    raw: bytes
    parameters: tuple[tuple[str, str | None], ...]
    subject: bytes

    @classmethod
    def parse(cls, raw: bytes, *, has_subject: bool) -> Query:
        """Take a query apart.

        Args:
            raw: the query.
            has_subject: whether it begins with what the page is about.
        """
        subject, _, rest = raw.partition(b"&")
        pieces = (rest if has_subject else raw).split(b"&", _MOST_PARAMETERS)
        pairs = []
        for piece in pieces[:_MOST_PARAMETERS]:
            if piece:
                name, separator, value = piece.partition(b"=")
                pairs.append((_text(name), _text(value) if separator else None))
        return cls(raw, tuple(pairs), subject if has_subject else b"")

    @property
    def names(self) -> tuple[str, ...]:
        """What the page may be about: as it was sent, then decoded.

        Forms send a field without content as a name with an equals sign behind it.
        """
        sent = self.subject.decode("utf-8", "surrogateescape")
        decoded = unquote_to_bytes(self.subject).decode("utf-8", "surrogateescape")
        names = [sent, decoded]
        if self.subject.endswith(b"="):
            names.append(_text(self.subject[:-1]))
        return tuple(dict.fromkeys(names))

    def get(self, name: str, default: str = "") -> str:
        """The first value of a parameter."""
        return next(iter(self.all(name)), default)

    def all(self, name: str) -> list[str]:
        """All values of a parameter."""
        return [value for key, value in self.parameters if key == name and value]

    def has(self, name: str) -> bool:
        """Whether there is a parameter or a flag of that name."""
        return any(key == name for key, _ in self.parameters)

    def flags(self) -> list[str]:
        """All flags."""
        return [key for key, value in self.parameters if value is None]


def _text(encoded: bytes) -> str:
    # As forms are encoded; bytes that are not UTF-8 are kept.
    return unquote_plus(encoded.decode("latin-1"), "utf-8", "surrogateescape")
