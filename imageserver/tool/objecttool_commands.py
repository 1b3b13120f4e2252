"""The flags and commands of objecttool."""

from __future__ import annotations

from imageserver.flags import BOOL, DURATION, SECOND, STRING, UINT, Flag, FlagSet
from imageserver.tool.command import Command
from imageserver.tool.connecting_flags import CONNECTING_FLAGS, OUTPUT_FLAGS

_OBJECTS = "Objects"
_HELP = "Help"

FLAGS = FlagSet(
    [
        Flag("objectServerHostname", STRING, "localhost", "name of the server"),
        Flag("objectServerPortNum", UINT, 6971, "its port"),
        Flag("chunkSize", UINT, 65535, "how much to send at a time, in bytes"),
        Flag("showHashes", BOOL, False, "print the hashes of what is added"),
        Flag("testDuration", DURATION, 10 * SECOND, "how long to measure"),
        *CONNECTING_FLAGS,
        *OUTPUT_FLAGS,
    ]
)
COMMANDS = (
    Command(
        "add",
        "FILE...",
        "put files on the server, as objects",
        "object_commands:add",
        "error adding objects",
        ("showHashes",),
        "-showHashes add /etc/os-release",
        "What is no regular file, or empty, is passed over.",
        _OBJECTS,
    ),
    Command(
        "check",
        "HASH",
        "exit code 0 if the server has an object, else 1",
        "object_commands:check",
        "error checking object",
        (),
        "check $(sha512sum < file | cut -d' ' -f1)",
        "",
        _OBJECTS,
    ),
    Command(
        "get",
        "HASH BASE",
        "write an object to the file BASE.HASH; - for standard output",
        "object_commands:get",
        "error getting object",
        (),
        "get $HASH -",
        "",
        _OBJECTS,
    ),
    Command(
        "mget",
        "HASHES DIRECTORY",
        "write the objects that a file lists to a new directory",
        "object_commands:get_many",
        "error getting objects",
        (),
        "mget hashes objects",
        "",
        _OBJECTS,
    ),
    Command(
        "import",
        "URL HASHES",
        "let the server fetch the objects that a file lists from URL/HASH",
        "object_commands:import_objects",
        "error importing objects",
        (),
        "import https://mirror.example/objects hashes",
        "",
        _OBJECTS,
    ),
    Command(
        "test-bandwidth-from-server",
        "",
        "measure how fast data comes from the server",
        "bandwidth:test_from_server",
        "error testing bandwidth",
        ("chunkSize", "testDuration"),
        "test-bandwidth-from-server",
        "",
        _OBJECTS,
    ),
    Command(
        "test-bandwidth-to-server",
        "",
        "measure how fast data goes to the server",
        "bandwidth:test_to_server",
        "error testing bandwidth",
        ("chunkSize", "testDuration"),
        "test-bandwidth-to-server",
        "",
        _OBJECTS,
    ),
    Command(
        "completion",
        "SHELL",
        "print what lets bash, zsh or fish complete commands",
        "documents:object_completion",
        "error",
        (),
        "completion bash",
        "",
        _HELP,
        local=True,
    ),
    Command(
        "manual",
        "",
        "print the manual page, for man -l -",
        "documents:object_manual",
        "error",
        (),
        "manual | man -l -",
        "",
        _HELP,
        local=True,
    ),
)
