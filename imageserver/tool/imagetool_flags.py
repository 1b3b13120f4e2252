"""The flags of imagetool."""

from __future__ import annotations

from imageserver.flags import (
    BOOL,
    DURATION,
    LIST,
    SIZE,
    STRING,
    UINT,
    Flag,
    FlagSet,
)
from imageserver.tool.connecting_flags import CONNECTING_FLAGS, OUTPUT_FLAGS
from imageserver.tool.tag_kind import MATCH_TAGS

REQUIRED_PATHS = "/etc:d,/etc/passwd:f,/usr:d,/usr/bin:d"
SCAN_EXCLUDE_LIST = tuple(
    f"{path}/.*"
    for path in "/data /home /tmp /var/log /var/mail /var/spool /var/tmp".split()
)
_SERVER = "Server"
_MAKING = "Making images"
_LOOKING = "Looking at images"
_OUTPUT = "Output"

FLAGS = FlagSet(
    [
        Flag(
            "imageServerHostname",
            STRING,
            "localhost",
            "name of the imageserver",
            _SERVER,
        ),
        Flag("imageServerPortNum", UINT, 6971, "its port", _SERVER),
        Flag(
            "masterImageServerHostname",
            STRING,
            "",
            "the server for changes, if it is another one; same port",
            _SERVER,
        ),
        *(
            Flag(flag.name, flag.kind, flag.default, flag.help, _SERVER)
            for flag in CONNECTING_FLAGS
        ),
        Flag("timeout", DURATION, 0, "how long to wait for an image", _SERVER),
        Flag("buildBranch", STRING, "", "the branch that it was built from", _MAKING),
        Flag(
            "buildCommitId",
            STRING,
            "",
            "the commit that it was built from; when finding: commit or branch",
            _MAKING,
        ),
        Flag("buildGitUrl", STRING, "", "the repository it was built from", _MAKING),
        Flag(
            "buildLog",
            STRING,
            "",
            "file with the log of the build, or its address",
            _MAKING,
        ),
        Flag(
            "computedFiles",
            STRING,
            "",
            "file that lists files which are computed for each machine",
            _MAKING,
        ),
        Flag(
            "copyMtimesFrom",
            STRING,
            "",
            "image from which files that are the same take their times",
            _MAKING,
        ),
        Flag("createdFor", STRING, "", "on whose behalf", _MAKING),
        Flag(
            "deleteFilter",
            STRING,
            "",
            "filter file to use in place of the filters of images",
            _MAKING,
        ),
        Flag(
            "expiresIn", DURATION, 0, "how long the image is kept; 0: for ever", _MAKING
        ),
        Flag("ownerGroups", LIST, (), "groups that own the image", _MAKING),
        Flag("ownerUsers", LIST, (), "users who own the image", _MAKING),
        Flag(
            "packages",
            BOOL,
            True,
            "note which Debian or RPM packages the tree has",
            _MAKING,
        ),
        Flag(
            "releaseNotes",
            STRING,
            "",
            "file with release notes, or its address",
            _MAKING,
        ),
        Flag(
            "requiredPaths",
            STRING,
            REQUIRED_PATHS,
            "what an image with a filter must have",
            _MAKING,
        ),
        Flag("sourceImage", STRING, "", "the image that it was built from", _MAKING),
        Flag("streams", UINT, 2, "on how many connections to send objects", _MAKING),
        Flag(
            "tags",
            LIST,
            (),
            "tags of the image: KEY=VALUE, or @FILE with a JSON object",
            _MAKING,
        ),
        Flag("compress", BOOL, False, "compress the tar file with gzip", _LOOKING),
        Flag(
            "computedFilesRoot",
            STRING,
            "",
            "directory with contents for computed files",
            _LOOKING,
        ),
        Flag("diffArgs", LIST, (), "arguments for the tool that compares", _LOOKING),
        Flag("filterFile", STRING, "", "filter file: paths to leave out", _LOOKING),
        Flag("ignoreExpiring", BOOL, False, "leave out images that expire", _LOOKING),
        Flag("ignoreFilters", BOOL, False, "do not apply filters", _LOOKING),
        Flag(
            "objectCacheDirectory",
            STRING,
            "",
            "directory to keep objects in that were fetched",
            _LOOKING,
        ),
        Flag("objectCacheSize", SIZE, 10 << 30, "how much is kept at most", _LOOKING),
        Flag(
            "runTriggers",
            BOOL,
            False,
            "when / was patched, restart services as triggers say",
            _LOOKING,
        ),
        Flag(
            "scanExcludeList",
            LIST,
            SCAN_EXCLUDE_LIST,
            "paths to pass over when looking for filtered files",
            _LOOKING,
        ),
        Flag("skipFields", STRING, "", "columns to leave out: mlugstnd", _LOOKING),
        Flag(
            "tagsToMatch",
            MATCH_TAGS,
            {},
            "only images with these tags: KEY=VALUE,KEY=OTHER,...",
            _LOOKING,
        ),
        *(
            Flag(flag.name, flag.kind, flag.default, flag.help, _OUTPUT)
            for flag in OUTPUT_FLAGS
        ),
    ]
)
