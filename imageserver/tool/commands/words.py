"""Words that the descriptions of several commands share."""

from __future__ import annotations

IMAGE_WORDS = """IMAGE is the name of an image, or one of: i:NAME an image on the
server, I:DIRECTORY the newest image of a directory, d:PATH a directory here, f:FILE a
file system in a file, l:FILE an image in a file."""
