"""Commands under the heading "Filters and triggers"."""

from __future__ import annotations

from imageserver.tool.command import Command

TOPIC = "Filters and triggers"

COMMANDS = (
    Command(
        "match-triggers",
        "IMAGE TRIGGERS",
        "print the triggers of a file that match some path of an image",
        "triggers:match_triggers",
        "error matching triggers",
        ("timeout",),
        "match-triggers base/1 base.triggers",
        "",
        TOPIC,
    ),
    Command(
        "merge-filters",
        "FILTER...",
        "print what filter files say together",
        "merging:merge_filters",
        "error merging filter",
        (),
        "merge-filters base.filter web.filter",
        "- is standard input.",
        TOPIC,
        local=True,
    ),
    Command(
        "merge-triggers",
        "TRIGGERS...",
        "print what triggers files say together",
        "merging:merge_triggers",
        "error merging triggers",
        (),
        "merge-triggers base.triggers web.triggers",
        "",
        TOPIC,
        local=True,
    ),
)
