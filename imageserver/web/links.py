"""Addresses of pages about things."""

from __future__ import annotations

from urllib.parse import quote, quote_plus, urlsplit

_SAFE = "/:,@"


def encode(name: str | bytes) -> str:
    """A name as a part of an address."""
    if isinstance(name, str):
        name = name.encode("utf-8", "surrogateescape")
    return quote(name, _SAFE)


def image_address(page: str, name: str, **parameters: str | bytes) -> str:
    """The address of a page about an image."""
    address = f"/{page}?{encode(name)}"
    for key, value in parameters.items():
        address += f"&{key}={_encode_value(value)}"
    return address


def list_address(**parameters: str | bytes) -> str:
    """The address of a list of images."""
    query = "&".join(f"{k}={_encode_value(v)}" for k, v in parameters.items())
    return "/listImages" + (f"?{query}" if query else "")


def search_address(key: str, value: str) -> str:
    """The address of the list of images with something in common."""
    quoted = f'"{value}"' if " " in value else value
    return list_address(q=f"{key}:{quoted}" if key else quoted)


def foreign_address(address: str) -> str:
    """An address that somebody else has given; empty if it is none of the web's."""
    try:
        scheme = urlsplit(address).scheme
    except ValueError:
        return ""
    return address if scheme in ("http", "https") else ""


def _encode_value(value: str | bytes) -> str:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return quote_plus(value, _SAFE)
