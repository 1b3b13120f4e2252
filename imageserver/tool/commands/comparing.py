"""Commands under the heading "Comparing images"."""

from __future__ import annotations

from imageserver.tool.command import Command
from imageserver.tool.commands.words import IMAGE_WORDS

TOPIC = "Comparing images"
_DIFFING = ("diffArgs", "timeout")
_TOOL = """TOOL is a program that takes two files, such as diff or tkdiff, or - for the
comparison that is built in, which tells what was added, removed and changed."""

COMMANDS = (
    Command(
        "diff",
        "TOOL LEFT RIGHT",
        "compare the files of two images",
        "diff:diff",
        "",
        (*_DIFFING, "deleteFilter", "filterFile", "ignoreFilters", "skipFields"),
        "diff - base/1 base/2",
        f"""{_TOOL}

        {IMAGE_WORDS}

        If only one of them has a filter, what it matches is left out of both.""",
        TOPIC,
    ),
    Command(
        "diff-files",
        "TOOL LEFT RIGHT PATH",
        "compare one file of two images",
        "diff_parts:diff_files",
        "error diffing files",
        _DIFFING,
        "diff-files diff base/1 base/2 /etc/passwd",
        _TOOL,
        TOPIC,
    ),
    Command(
        "diff-filters",
        "TOOL LEFT RIGHT",
        "compare the filters of two images",
        "diff_parts:diff_filters",
        "error diffing filters",
        _DIFFING,
        "diff-filters diff base/1 base/2",
        _TOOL,
        TOPIC,
    ),
    Command(
        "diff-triggers",
        "TOOL LEFT RIGHT",
        "compare the triggers of two images",
        "diff_parts:diff_triggers",
        "error diffing triggers",
        _DIFFING,
        "diff-triggers diff base/1 base/2",
        _TOOL,
        TOPIC,
    ),
    Command(
        "diff-package-lists",
        "TOOL LEFT RIGHT",
        "compare the packages of two images",
        "diff_parts:diff_packages",
        "error diffing package lists",
        _DIFFING,
        "diff-package-lists - base/1 base/2",
        _TOOL,
        TOPIC,
    ),
    Command(
        "diff-build-logs",
        "TOOL LEFT RIGHT",
        "compare the logs of two images' builds",
        "diff_parts:diff_build_logs",
        "error diffing build logs",
        _DIFFING,
        "diff-build-logs diff base/1 base/2",
        _TOOL,
        TOPIC,
    ),
)
