"""The commands of imagetool."""

from __future__ import annotations

from imageserver.tool.commands import (
    comparing,
    documents,
    files,
    getting,
    looking,
    making,
    names,
    upkeep,
)

COMMANDS = (
    *making.COMMANDS,
    *getting.COMMANDS,
    *looking.COMMANDS,
    *comparing.COMMANDS,
    *names.COMMANDS,
    *upkeep.COMMANDS,
    *files.COMMANDS,
    *documents.COMMANDS,
)
