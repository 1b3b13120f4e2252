"""Flags in Go's syntax: text in, values out, no input or output.

::

    -name=value   -name value   --name ...   any kind but bool
    -name         -name=true    --name ...   bool
    --            ends the flags, as does the first argument that is not a flag

A :class:`Flag` has a :class:`Kind`, which knows how values are read and shown.
A :class:`FlagSet` reads command lines and flags files, and describes its flags.
Flags files are read first, so that the command line wins::

    values = flag_set.defaults()
    flag_set.parse_file_text(text, values)
    parsed = flag_set.parse(argv, values)
    settings = flag_set.decode(parsed.values, Settings)
"""

from imageserver.flags.flag_set import Flag, FlagSet, HelpRequested, Parsed, UsageError
from imageserver.flags.kind import (
    BOOL,
    DURATION,
    HOUR,
    INT,
    LIST,
    MICROSECOND,
    MILLISECOND,
    MINUTE,
    NANOSECOND,
    SECOND,
    SIZE,
    STRING,
    UINT,
    Kind,
)

__all__ = [
    "BOOL",
    "DURATION",
    "HOUR",
    "INT",
    "LIST",
    "MICROSECOND",
    "MILLISECOND",
    "MINUTE",
    "NANOSECOND",
    "SECOND",
    "SIZE",
    "STRING",
    "UINT",
    "Flag",
    "FlagSet",
    "HelpRequested",
    "Kind",
    "Parsed",
    "UsageError",
]
