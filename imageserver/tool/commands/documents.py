"""Commands under the heading "Help"."""

from __future__ import annotations

from imageserver.tool.command import Command

TOPIC = "Help"

COMMANDS = (
    Command(
        "completion",
        "SHELL",
        "print what lets bash, zsh or fish complete commands",
        "documents:completion",
        "error",
        (),
        "completion bash",
        """For bash: put 'source <(imagetool completion bash)' into ~/.bashrc. Names
        of images and directories are completed, too.""",
        TOPIC,
        local=True,
    ),
    Command(
        "manual",
        "",
        "print the manual page, for man -l -",
        "documents:manual",
        "error",
        (),
        "manual | man -l -",
        "",
        TOPIC,
        local=True,
    ),
)
