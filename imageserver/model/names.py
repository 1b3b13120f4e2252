"""The one rule for names of images and directories.

A name is one or more components, separated by single slashes. A component is not
empty, does not start with ``.`` (such names are hidden from the scan at start-up),
does not end in ``~`` (such files are temporary), holds no control character, and
is short enough to leave room for the ``~`` of its temporary file.

What was stored by others under other names can be read and deleted, as long as it is
text.
"""

from __future__ import annotations

from imageserver.errors import InvalidName

ROOT = "."
_COMPONENT_BYTES = 254
_NAME_BYTES = 3_000


def check_image_name(name: str) -> None:
    """Refuse what cannot be the name of an image.

    Raises:
        InvalidName: it breaks the rule.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidName(name, "not UTF-8") from None
    if size > _NAME_BYTES:
        raise InvalidName(name[:100] + "...", "too long")
    for component in name.split("/"):
        reason = _fault(component)
        if reason:
            raise InvalidName(name, reason)


def check_stored_name(name: str) -> None:
    """Refuse what nobody could ask for, of the names that others have stored.

    Raises:
        InvalidName: it is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidName(name, "not UTF-8") from None


def check_directory_name(name: str) -> None:
    """Refuse what cannot be the name of a directory.

    Raises:
        InvalidName: it breaks the rule.
    """
    if name != ROOT:
        check_image_name(name)


def directory_of(name: str) -> str:
    """The directory that contains an image or a directory."""
    return name.rpartition("/")[0] or ROOT


def _fault(component: str) -> str:
    if not component:
        return "empty component"
    if component.startswith("."):
        return "component starts with a dot"
    if component.endswith("~"):
        return "component ends in ~"
    if len(component.encode()) > _COMPONENT_BYTES:
        return "component too long"
    if any(
        ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0
        for character in component
    ):
        return "control character"
    return ""
