"""Values as text for scripts: a line each, name and value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def flatten(values: Any) -> str:
    """Everything in JSON values: ``health.last_pass.objects 17``."""
    return "".join(f"{name} {value}\n" for name, value in _pairs("", values))


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    prefix = f"{name}." if name else ""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _pairs(f"{prefix}{key}", item)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _pairs(f"{prefix}{number}", item)
    elif value is None:
        yield name, "-"
    elif isinstance(value, bool):
        yield name, str(value).lower()
    else:
        yield name, one_line(str(value))


def one_line(text: str) -> str:
    """Text that cannot begin another line."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
