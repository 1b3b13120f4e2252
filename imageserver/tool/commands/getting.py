"""Commands under the heading "Getting images"."""

from __future__ import annotations

from imageserver.tool.command import Command

TOPIC = "Getting images"

COMMANDS = (
    Command(
        "get",
        "IMAGE DIRECTORY",
        "unpack an image into a directory",
        "get:get",
        "error getting image",
        ("computedFilesRoot", "objectCacheDirectory", "objectCacheSize", "timeout"),
        "get base/1 /srv/root",
        """The directory has to be empty, or not there. Owners and devices take root;
        what cannot be made is listed. Nothing is written outside the directory,
        whatever somebody does in there meanwhile.""",
        TOPIC,
    ),
    Command(
        "tar",
        "IMAGE [FILE]",
        "write an image as a tar file",
        "tar_image:tar_image",
        "error taring image",
        ("compress", "computedFilesRoot", "objectCacheDirectory", "timeout"),
        "-compress tar base/1 base-1.tar.gz",
        "",
        TOPIC,
    ),
    Command(
        "save-to-file",
        "NAME [FILE]",
        "save an image with all its objects",
        "archive:save",
        "error saving image",
        ("masterImageServerHostname", "objectCacheDirectory"),
        "save-to-file base/1 base-1.saved",
        "",
        TOPIC,
    ),
    Command(
        "get-file-in-image",
        "IMAGE PATH [FILE]",
        "print one file of an image, or write it to FILE",
        "content:get_file",
        "error getting file in image",
        ("timeout",),
        "get-file-in-image base/1 /etc/os-release",
        "",
        TOPIC,
    ),
    Command(
        "get-build-log",
        "IMAGE [FILE]",
        "print the log of an image's build, or write it to FILE",
        "content:get_build_log",
        "error getting image build log",
        ("timeout",),
        "get-build-log base/1",
        "",
        TOPIC,
    ),
    Command(
        "get-archive-data",
        "IMAGE FILE",
        "write what an image has besides files, filter and triggers",
        "show:get_archive_data",
        "error getting image",
        ("timeout",),
        "get-archive-data base/1 -",
        "- for standard output and names in .json give JSON, other files are gob.",
        TOPIC,
    ),
    Command(
        "wait",
        "NAME",
        "wait for an image; exit code 1 if it does not come",
        "queries:wait",
        "",
        ("masterImageServerHostname", "timeout"),
        "-timeout 5m wait base/2",
        "",
        TOPIC,
    ),
    Command(
        "patch-directory",
        "IMAGE DIRECTORY",
        "make a directory equal to an image",
        "patch:patch_directory",
        "error patching directory",
        (
            "ignoreFilters",
            "objectCacheDirectory",
            "objectCacheSize",
            "runTriggers",
            "timeout",
        ),
        "patch-directory base/2 /srv/root",
        """What the image's filter matches is left alone; with a sparse image nothing
        is removed. Everything that is needed is fetched and verified before anything
        is changed, and each file is replaced at once. A line is printed for each
        change. With -runTriggers, DIRECTORY has to be /, and the services that the
        image's triggers name for what was changed are restarted or reloaded.""",
        TOPIC,
    ),
    Command(
        "export-oci",
        "IMAGE LAYOUT",
        "write an image as a container image, an OCI image layout directory",
        "oci:export_oci",
        "error exporting image",
        ("objectCacheDirectory", "timeout"),
        "export-oci base/1 ./layout",
        "It has one layer. Its tag is the last part of the name.",
        TOPIC,
    ),
)
