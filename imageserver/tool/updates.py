"""``imagetool get-image-updates``: what there is, and what changes."""

from __future__ import annotations

import enum
import json

from imageserver.errors import ImageServerError
from imageserver.model.image_messages import ImageUpdate
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.terminal import GREEN, RED, by_first_word

_COLOURS = {"ADD": GREEN, "MKDIR": GREEN, "DELETE": RED}


class _Operation(enum.IntEnum):
    ADD_IMAGE = 0
    DELETE_IMAGE = 1
    MAKE_DIRECTORY = 2
    DELETE_DIRECTORY = 3


class _Teller:
    """Prints updates as they come."""

    def __init__(self, session: ImageSession) -> None:
        self._talk = session.talk
        self._has_begun = False

    def tell(self, update: ImageUpdate) -> None:
        """Print one."""
        operation = _Operation(update.operation)
        word, name = self._describe(operation, update)
        is_end = operation is _Operation.ADD_IMAGE and not update.name
        if self._talk.as_json:
            event = "initial list received" if is_end else operation.name.lower()
            item = {"event": event, "name": name, "initial": not self._has_begun}
            # A line each, so that readers need not wait for the end.
            self._talk.lines([json.dumps(item)])
        elif is_end:
            self._talk.lines(["INITIAL list received"])
        else:
            self._talk.lines([f"{word}: {name}"], by_first_word(_COLOURS))
        self._has_begun = self._has_begun or is_end

    def _describe(self, operation: _Operation, update: ImageUpdate) -> tuple[str, str]:
        if operation is _Operation.MAKE_DIRECTORY:
            if update.directory is None:
                raise ImageServerError("nil imageUpdate.Directory")
            return "MKDIR" if self._has_begun else "DIR", update.directory.name
        words = {
            _Operation.ADD_IMAGE: "ADD" if self._has_begun else "INIT",
            _Operation.DELETE_IMAGE: "DELETE",
            _Operation.DELETE_DIRECTORY: "DELETE DIRECTORY",
        }
        return words[operation], update.name


async def get_updates(session: ImageSession) -> int:
    """Print all there is, and then changes, until interrupted."""
    await (await session.images()).follow(_Teller(session).tell)
    return 0
