"""Commands under the heading "Objects and upkeep"."""

from __future__ import annotations

from imageserver.tool.command import Command

TOPIC = "Objects and upkeep"

COMMANDS = (
    Command(
        "listunrefobj",
        "",
        "print the hashes of objects that no image uses",
        "objects:list_unreferenced",
        "error listing unreferenced objects",
        (),
        "listunrefobj",
        "",
        TOPIC,
    ),
    Command(
        "showunrefobj",
        "",
        "print hashes and sizes of objects that no image uses",
        "objects:show_unreferenced",
        "error listing unreferenced objects",
        (),
        "showunrefobj",
        "",
        TOPIC,
    ),
    Command(
        "delunrefobj",
        "PERCENTAGE BYTES",
        "delete so much of what no image uses, the oldest first",
        "objects:delete_unreferenced",
        "",
        (),
        "delunrefobj 100 0",
        "",
        TOPIC,
    ),
)
