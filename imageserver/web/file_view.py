"""The content of a file for people: text with line numbers, a picture, or bytes."""

from __future__ import annotations

import attrs

_TEXT_BYTES = 256 << 10
_HEX_BYTES = 64 << 10
_PER_LINE = 16
_PICTURE_BYTES = 8 << 20
_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_ODD = frozenset(range(0x20)) - set(b"\t\n\r\f\b\x1b")


@attrs.frozen
class FileView:
    """How a file is shown.

    Attributes:
        kind: ``text``, ``picture`` or ``bytes``.
        lines: of the text, or of the bytes: place, digits, characters.
        is_cut: whether there is more.
    """

    kind: str
    lines: list[str] | list[tuple[str, str, str]]
    is_cut: bool


def show_content(data: bytes, size: int) -> FileView:
    """How to show a file.

    Args:
        data: its beginning.
        size: the size of all of it.
    """
    if picture_type(data) and size <= _PICTURE_BYTES:
        return FileView("picture", [], False)
    text = as_text(data[:_TEXT_BYTES], is_cut=size > len(data[:_TEXT_BYTES]))
    if text is not None:
        return FileView("text", text.splitlines(), size > _TEXT_BYTES)
    return FileView("bytes", dump(data[:_HEX_BYTES]), size > _HEX_BYTES)


def as_text(data: bytes, *, is_cut: bool = False) -> str | None:
    """The text that bytes are; ``None``: they are none.

    Args:
        data: the bytes.
        is_cut: whether they may end within a character.
    """
    if _ODD.intersection(data[:4096]):
        return None
    for end in range(len(data), max(len(data) - 4 * is_cut, 0) - 1, -1):
        try:
            return data[:end].decode()
        except UnicodeDecodeError as error:
            if not is_cut or error.start < len(data) - 4:
                return None
    return None


def picture_type(data: bytes) -> str:
    """The type of a picture that browsers show; empty: it is none."""
    for beginning, type_ in _PICTURES:
        if data.startswith(beginning):
            return type_
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return ""


def dump(data: bytes) -> list[tuple[str, str, str]]:
    """Bytes as digits and characters, sixteen a line."""
    shown = []
    for start in range(0, len(data), _PER_LINE):
        some = data[start : start + _PER_LINE]
        characters = "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in some)
        shown.append((f"{start:08x}", some.hex(" "), characters))
    return shown
