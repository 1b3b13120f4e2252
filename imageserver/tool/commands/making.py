"""Commands under the heading "Making images"."""

from __future__ import annotations

from imageserver.tool.command import Command
from imageserver.tool.commands.words import IMAGE_WORDS

TOPIC = "Making images"
_ABOUT_IMAGE = (
    "buildBranch",
    "buildCommitId",
    "buildGitUrl",
    "buildLog",
    "createdFor",
    "expiresIn",
    "ownerGroups",
    "ownerUsers",
    "releaseNotes",
    "requiredPaths",
    "sourceImage",
    "tags",
)
_LAYERS = ("computedFiles", "expiresIn", "streams")

COMMANDS = (
    Command(
        "add",
        "NAME TREE FILTER TRIGGERS",
        "make an image of a directory or a tar file",
        "add:add",
        'error adding image: "{0}"',
        ("computedFiles", "copyMtimesFrom", *_ABOUT_IMAGE, "packages", "streams"),
        'add base/2026-01-31 /srv/tree base.filter ""',
        """TREE is a directory or a .tar, .tar.gz, .tgz, .tar.xz, .tar.bz2 or
        .tar.zst file. FILTER is a file with a regular expression in each line: what
        they match is left out, and left alone on machines; "" makes a sparse image.
        TRIGGERS is a file that says which services to restart; "" for none.

        Only what the server lacks is sent. When the connection breaks, it goes on
        where it was.""",
        TOPIC,
    ),
    Command(
        "addi",
        "NAME IMAGE FILTER TRIGGERS",
        "make an image of another one, with another filter and other triggers",
        "add_image:add_image",
        'error adding image: "{0}"',
        ("computedFiles", "deleteFilter", *_ABOUT_IMAGE),
        'addi web/2 i:web/1 web.filter ""',
        IMAGE_WORDS,
        TOPIC,
    ),
    Command(
        "addrep",
        "NAME IMAGE LAYER...",
        "make an image of another one with some files replaced",
        "add_layers:add_replaced",
        'error adding image: "{0}"',
        _LAYERS,
        "addrep base/2 base/1 fixes.tar",
        "Each LAYER is a TREE as for add. Only files that the image has are replaced.",
        TOPIC,
    ),
    Command(
        "bulk-addrep",
        "LAYER...",
        "do so for the newest image of each stream",
        "add_layers:add_all_replaced",
        'error adding image: "{0}"',
        _LAYERS,
        "bulk-addrep fixes.tar",
        """A stream has images named X/N or X.N, where N is a number; the new image
        gets the next number. Images that expire are passed over.""",
        TOPIC,
    ),
    Command(
        "copy",
        "NAME IMAGE",
        "make an image that is the same as another one",
        "add_image:copy",
        "error copying image",
        ("expiresIn", "requiredPaths"),
        "copy stable/7 testing/31",
        IMAGE_WORDS,
        TOPIC,
    ),
    Command(
        "import-fs-tree",
        "DIRECTORY URL",
        "let the server make an image of a tree on a web server",
        "import_tree:import_tree",
        "error importing FsTree",
        ("expiresIn",),
        "-expiresIn 24h import-fs-tree base https://trees.example/tree/0123abcd",
        "",
        TOPIC,
    ),
    Command(
        "restore-from-file",
        "FILE",
        "bring an image back that was saved",
        "archive:restore",
        "error restoring image",
        ("expiresIn", "masterImageServerHostname"),
        "restore-from-file base-1.saved",
        "",
        TOPIC,
    ),
    Command(
        "import-oci",
        "NAME LAYOUT FILTER TRIGGERS",
        "make an image of a container image, an OCI image layout directory",
        "oci:import_oci",
        'error adding image: "{0}"',
        (*_ABOUT_IMAGE, "packages", "streams"),
        'import-oci base/1 ./alpine "" ""',
        """Layers are put on top of each other, and what they say is gone is gone.
        LAYOUT may end in :TAG if it has several images.""",
        TOPIC,
    ),
)
