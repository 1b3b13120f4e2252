"""Every command of the tools against a real daemon: what it prints, and its code."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile

import pytest
from processes import Certificates, Daemon
from tool_runs import (
    ETC,
    FILTER,
    HEAD,
    PASSWD,
    PASSWD_HASH,
    PASSWD_LINE,
    TOOL_HASH,
    TRIGGERS,
    Driver,
    make_tree,
    plain,
)

from imageserver.tool.imagetool import PROGRAM
from imageserver.tool.objecttool import PROGRAM as OBJECT_PROGRAM

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates):
    """A driver in a folder with a tree, and a daemon with images of it."""
    folder = tmp_path_factory.mktemp("commands")
    daemon = Daemon(folder / "daemon", certificates)
    daemon.start()
    make_tree(folder / "tree")
    (folder / "filter").write_text(FILTER)
    (folder / "triggers").write_text(json.dumps(TRIGGERS))
    (folder / "log").write_text("built\n")
    (folder / "names").write_text("base/1\nbase/2\n")
    (folder / "computed").write_text("/etc/empty host:1234\n")
    driver = Driver(folder, daemon)
    for line in (
        "mkdir base",
        "-buildLog=log -releaseNotes=http://x.example/notes -tags=os=debian"
        " add base/1 tree filter triggers",
        "-sourceImage=base/1 -expiresIn=2h -computedFiles=computed"
        " add base/2 tree filter ",
    ):
        assert driver(*line.split(" ")) == (0, "", "")
    yield driver
    driver.close()
    daemon.kill()


NO_IMAGE = "image: base/none not found\n"
READ = {
    "list": (0, "base/1\nbase/2\n", ""),
    "-ignoreExpiring list": (0, "base/1\n", ""),
    "-tagsToMatch=os=debian,os=x list": (0, "base/1\n", ""),
    "-tagsToMatch=os=x list": (0, "", ""),
    "listdirs": (0, ".\nbase\n", ""),
    "check base/1": (0, "", ""),
    "check base/none": (1, "", ""),
    "check-directory base": (0, "", ""),
    "check-directory none": (1, "", ""),
    "wait base/1": (0, "", ""),
    "-timeout=10ms wait base/none": (1, "", ""),
    "find-latest-image base": (0, "base/2\n", ""),
    "-ignoreExpiring find-latest-image base": (0, "base/1\n", ""),
    "find-latest-image .": (
        1,
        "",
        "error finding latest image: no image found\n",
    ),
    "get-image-expiration base/1": (0, "image does not expire\n", ""),
    "get-image-expiration base/2": (
        0,
        "image expires at LATER +0000 UTC (in 1h59mTOOK)\n",
        "",
    ),
    "get-image-expiration base/none": (
        1,
        "",
        "error getting image expiration: image not found\n",
    ),
    "get-replication-master": (0, "", ""),
    "estimate-usage base/1": (0, "41024 B\n", ""),
    "get-object-statistics-for-images names": (
        0,
        "",
        "2 images\n7 files using 340 B\n3 unique objects using 170 B, "
        "2 de-duplication factor\nTOOK duration\n",
    ),
    "show-inode base/1 /etc/passwd": (0, PASSWD_LINE + "\n", ""),
    "show-inode I:base /etc/empty": (
        0,
        f"-rw-r--r--   {HEAD}   computed                          "
        "/etc/empty <- host:1234\n",
        "",
    ),
    "show-inode d:tree /etc": (0, ETC + "\n", ""),
    "-skipFields=lugst show-inode base/1 /usr/bin/soft": (
        0,
        "lrwxrwxrwx /usr/bin/soft -> tool\n",
        "",
    ),
    "show-inode base/1 /none": (
        1,
        "",
        'error showing image inode: path: "/none" not present in image\n',
    ),
    "show base/none": (1, "", f"error showing image: {NO_IMAGE}"),
    "show x:y": (1, "", "error showing image: unknown image type: x\n"),
    "show s:host": (
        1,
        "",
        "error showing image: subs cannot be looked at: s:host\n",
    ),
    "-filterFile=filter -skipFields=mlugstd show d:tree": (
        0,
        "/\n/data\n/etc\n/etc/empty\n/etc/passwd\n/usr\n/usr/bin\n/usr/bin/hard\n"
        "/usr/bin/soft\n/usr/bin/tool\n/usr/fifo\n/var\n/var/lib\n/var/lib/dpkg\n"
        "/var/lib/dpkg/status\n",
        "",
    ),
    "show-filter base/1": (
        0,
        "/data/.*\n/var/log/(.*)\n",
        "The following filter expressions are not optimised:\n/var/log/(.*)\n",
    ),
    "show-filter d:tree": (
        1,
        "",
        "error showing image filter: package data not available\n",
    ),
    "show-triggers base/2": (
        1,
        "",
        "error showing image triggers: Triggers not available\n",
    ),
    "get-package-list base/1": (0, "bash 5.2-1 6997 KiB\n", ""),
    "get-package-list d:tree": (0, "bash 5.2-1 6997 KiB\n", ""),
    "get-build-log base/1": (0, "built\n", ""),
    "get-build-log base/2": (
        1,
        "",
        "error getting image build log: BuildLog data not available\n",
    ),
    "get-file-in-image base/1 /etc/passwd": (0, PASSWD, ""),
    "get-file-in-image d:tree /etc/passwd": (0, PASSWD, ""),
    "get-file-in-image base/1 /none": (
        1,
        "",
        'error getting file in image: file: "/none" not present in image\n',
    ),
    "get-file-in-image base/1 /etc": (
        1,
        "",
        'error getting file in image: file: "/etc" is not a regular file\n',
    ),
    "trace-inode-history base/2 /etc/passwd": (
        0,
        f"Inode originated in: base/1\n{PASSWD_LINE}\n",
        "",
    ),
    "trace-inode-history base/1 /etc/passwd": (
        1,
        "",
        "error tracing image inode: image: base/1 has no source: "
        "history cannot be traced\n",
    ),
    "match-triggers base/1 triggers": (
        0,
        json.dumps(TRIGGERS, indent=4) + "\n",
        "",
    ),
    "merge-filters filter filter": (0, "/data/.*\n/var/log/(.*)\n", ""),
    "merge-triggers triggers triggers": (0, json.dumps(TRIGGERS, indent=4) + "\n", ""),
    "test-download-speed base": (
        0,
        "",
        "downloaded image metadata in TOOK\ndownloaded 170 B (3 objects) in TOOK\n",
    ),
    "diff - base/1 base/2": (0, "@ /etc/empty (type)\n", ""),
    "diff - base/1 d:tree": (0, "", ""),
    "diff false base/1 base/2": (0, "", ""),
    "diff none base/1 base/2": (
        1,
        "",
        'error diffing images: exec: "none": No such file or directory\n',
    ),
    "diff - base/none base/2": (1, "", f"error getting left image: {NO_IMAGE}"),
    "diff-files - base/1 base/2 /etc/passwd": (0, "", ""),
    "diff-filters - base/1 base/2": (0, "", ""),
    "diff-triggers - base/1 base/1": (0, "", ""),
    "diff-package-lists - base/1 d:tree": (0, "", ""),
    "diff-build-logs - base/1 base/1": (0, "", ""),
    "verify base/1": (0, "", ""),
    "search soft base/1": (0, "base/1: /usr/bin/soft\n", ""),
    f"search {PASSWD_HASH}": (
        0,
        "base/1: /etc/passwd\nbase/2: /etc/passwd\n",
        "",
    ),
    "search nothing": (1, "", ""),
    "du base/1 /etc": (0, "      26 B  /etc\n", ""),
    "du": (
        0,
        "     files   objects   its own  image\n"
        "     170 B     170 B       0 B  base/1\n"
        "     170 B     170 B       0 B  base/2\n"
        "     170 B of objects in all\n",
        "",
    ),
    "scan-filtered-files base/1 tree": (0, "", ""),
    "-scanExcludeList= scan-filtered-files base/1 tree": (
        0,
        "/data/sub\n/data/sub/file\n",
        "",
    ),
    "delete base/none": (1, "", "error deleting image: image does not exist\n"),
    "rmdir none": (
        1,
        "",
        "error deleting directory: directory: none does not exist\n",
    ),
    "mkdir base": (
        1,
        "",
        "error creating directory: directory: base already exists\n",
    ),
    "change-image-expiration base/1": (
        1,
        "",
        "error changing image expiration: image does not expire\n",
    ),
    "delunrefobj 300 0": (
        1,
        "",
        'error parsing percentage: strconv.ParseUint: parsing "300": '
        "value out of range\n",
    ),
    "import-fs-tree base http://x.example/tree/y": (
        1,
        "",
        "error importing FsTree: must specify an expiry time\n",
    ),
}
"""Command lines that change nothing."""


@pytest.mark.parametrize("line", READ)
def test_reading(run, line: str) -> None:
    """What is there is shown as scripts expect it."""
    code, out, err = run(*line.split(" "))
    assert (code, plain(out), plain(err)) == READ[line]


def test_listing(run) -> None:
    """A listing has a line for each name, in order."""
    code, out, err = run("show", "base/1")
    assert (code, err) == (0, "")
    lines = plain(out).splitlines()
    assert lines[0].endswith(" /")
    assert ETC in lines
    assert PASSWD_LINE in lines
    assert f"-rw-r--r--   2     0     0          5 TIME /usr/bin/tool {TOOL_HASH}" in (
        lines
    )
    assert f"prw-r--r--   {HEAD}            TIME /usr/fifo" in lines
    assert not any("/data/" in line for line in lines)


def test_metadata(run) -> None:
    """The metadata is JSON with the members, and in the order, that scripts know."""
    code, out, err = run("show-metadata", "base/1")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found)[:8] == [
        "BuildBranch",
        "BuildCommitId",
        "BuildGitUrl",
        "CreatedBy",
        "CreatedFor",
        "Filter",
        "FileSystem",
        "Triggers",
    ]
    assert found["CreatedBy"] == "admin"
    assert found["FileSystem"] is None
    assert found["OwnerGroups"] is None
    assert found["Tags"] == {"os": "debian"}
    assert found["Packages"] == [
        {"Name": "bash", "Size": 6997 << 10, "Version": "5.2-1"}
    ]
    assert found["ReleaseNotes"] == {"Object": None, "URL": "http://x.example/notes"}
    assert found["ExpiresAt"] == "0001-01-01T00:00:00Z"
    code, out, _ = run("get-archive-data", "base/1", "-")
    assert (code, json.loads(out)["Filter"]) == (0, None)


def test_json(run) -> None:
    """Whatever is listed or shown comes as JSON, too."""
    assert run.json("list") == ["base/1", "base/2"]
    assert run.json("listdirs") == [
        {"name": ".", "owner_group": ""},
        {"name": "base", "owner_group": ""},
    ]
    assert run.json("check", "base/1") == {"exists": True}
    assert run.json("find-latest-image", "base") == {"name": "base/2"}
    assert run.json("get-replication-master") == {"replication_master": None}
    assert run.json("get-image-expiration", "base/1")["expires_at"] is None
    assert run.json("show-inode", "base/1", "/usr/bin/soft") == {
        "path": "/usr/bin/soft",
        "type": "symlink",
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "target": "tool",
        "links": 1,
    }
    assert len(run.json("show", "base/1")) == 14
    assert run.json("show-filter", "base/1")["not_optimised"] == ["/var/log/(.*)"]
    assert run.json("estimate-usage", "base/1") == {"bytes": 41024}
    assert run.json("get-package-list", "base/1")[0]["name"] == "bash"
    assert run.json("diff", "-", "base/1", "base/2")[0]["aspects"] == ["type"]
    assert run.json("search", "soft", "base/1")[0]["image"] == "base/1"
    assert run.json("verify", "base/1") == []
    assert run.json("du")[0]["file_bytes"] == 170
    assert run.json("listunrefobj") == run.json("showunrefobj") == []
    assert run.json("get-object-statistics-for-images", "names")["objects"] == 3
    assert run.json("show-metadata", "base/1")["CreatedBy"] == "admin"
    assert run.json("scan-filtered-files", "base/1", "tree") == []
    assert run.json("merge-filters", "filter") == {
        "lines": ["/data/.*", "/var/log/(.*)"]
    }


def test_making(run) -> None:
    """Images are made of others, given away, kept longer, and deleted."""
    layer = run.folder / "layer/etc"
    layer.mkdir(parents=True)
    (layer / "passwd").write_text("other\n")
    for line in (
        "mkdir made",
        "copy made/1 base/1",
        "addi made/2 base/1 filter triggers",
        "addrep made/3 base/1 layer",
        "-expiresIn=1h copy made/4 I:base",
        "-expiresIn=2h change-image-expiration made/4",
        "bulk-addrep layer",
        "check made/4",
        "delete made/1",
        "delunrefobj 0 0",
        "-copyMtimesFrom=base/1 -packages=false add made/new tree filter ",
        "chown made ",
    ):
        said = run(*line.split(" "))
        skips = "Skipping expiring image: " if line.startswith("bulk") else ""
        assert (line, said[0], said[2][: len(skips)]) == (line, 0, skips)
    _, out, _ = run("list")
    names = "base/3 made/2 made/3 made/4 made/5 made/new".split()
    assert set(out.split()) >= set(names) - {"base/3", "made/5"}
    assert run("diff", "-", "base/1", "made/3")[1] == (
        "@ /etc/passwd (content, metadata)\n"
    )
    assert run("get-file-in-image", "made/3", "/etc/passwd")[1] == "other\n"
    code, _, err = run("addrep", "made/x", "base/2", "layer")
    assert (code, err) == (0, "Skipping expiring image: base/2\n")
    code, _, err = run("copy", "made/2", "base/1")
    assert (code, err) == (1, "error copying image: image exists\n")
    code, _, err = run("add", "made/1", "tree", "filter", "")
    assert (code, err) == (
        1,
        'error adding image: "made/1": remote error: '
        "cannot add previously deleted image: made/1\n",
    )
    for name in out.split():
        if name not in ("base/1", "base/2"):
            assert run("delete", name) == (0, "", "")
    assert run("rmdir", "made")[0] in (0, 1)


def test_getting(run) -> None:
    """An image comes as a tree, as a tar file, and as a file with all its objects."""
    folder = run.folder
    assert run("get", "base/1", "got") == (0, "", "")
    assert (folder / "got/etc/passwd").read_text() == PASSWD
    name = (folder / "got/var/lib/initial-image").read_text()
    assert name == "base/1\n"
    assert run("tar", "base/1", "image.tar") == (0, "", "")
    assert run("-compress", "tar", "base/1", "image.tar.gz") == (0, "", "")
    for path in ("image.tar", "image.tar.gz"):
        with tarfile.open(folder / path) as archive:
            members = archive.getmembers()
            assert members[0].name == "."
            assert "./usr/bin/tool" in archive.getnames()
            assert archive.getmember("./usr/bin/tool").linkname == "./usr/bin/hard"
    (folder / "cache").mkdir()
    cached = "-objectCacheDirectory=cache"
    for target in ("first", "second"):
        assert run(cached, "get", "base/1", target) == (0, "", "")
        assert (folder / target / "usr/bin/hard").read_text() == "tool\n"
    assert len(list((folder / "cache").rglob("*"))) == 6
    (folder / "root/etc").mkdir(parents=True)
    (folder / "root/etc/empty").write_text("computed\n")
    assert run("-computedFilesRoot=root", "get", "base/2", "third") == (0, "", "")
    assert (folder / "third/etc/empty").read_text() == "computed\n"
    assert run("get-archive-data", "base/1", "data.json") == (0, "", "")
    assert run("get-build-log", "base/1", "copied.log") == (0, "", "")
    assert (folder / "copied.log").read_text() == "built\n"
    target = str(folder / "kept")
    words = ("-scanExcludeList=", "copy-filtered-files", "base/1", "tree", target)
    assert run(*words) == (0, "", "")
    assert (folder / "kept/data/sub/file").read_text() == "left out"


def test_patching(run) -> None:
    """A directory becomes what an image is, but for what the filter matches."""
    target = run.folder / "patched"
    (target / "data/kept").mkdir(parents=True)
    (target / "etc").mkdir()
    (target / "etc/gone").write_text("gone")
    (target / "etc/passwd").write_text("other")
    code, out, err = run("patch-directory", "base/1", "patched")
    assert (code, err) == (0, "")
    assert {"Removed: /etc/gone", "Made: /etc/passwd"} <= set(out.splitlines())
    assert (target / "etc/passwd").read_text() == PASSWD
    assert (target / "data/kept").is_dir()
    assert (target / "var/lib/patched-image").read_text() == "base/1\n"
    _, out, _ = run("patch-directory", "base/1", "patched")
    assert out == "Removed: /var/lib/patched-image\n"
    (target / "var/lib/patched-image").unlink()
    assert run("diff", "-", "base/1", "d:patched")[1] == ""
    assert run("-runTriggers", "patch-directory", "base/1", "patched") == (
        1,
        "",
        "error patching directory: directory must be / when running triggers\n",
    )


def test_containers(run) -> None:
    """An image goes out as a container image, and comes back the same."""
    assert run("export-oci", "base/1", "layout") == (0, "", "")
    code, _, err = run("export-oci", "base/1", "layout")
    assert (code, err) == (1, "error exporting image: it is there already: layout\n")
    for name, layout in (("oci-1", "layout"), ("oci-2", "layout:1")):
        assert run("import-oci", name, layout, "filter", "") == (0, "", "")
        assert run("diff", "-", "base/1", name)[1] == ""
        assert run("get-package-list", name)[1] == "bash 5.2-1 6997 KiB\n"
        assert run("delete", name) == (0, "", "")
    code, _, err = run("import-oci", "oci-3", "tree", "", "")
    assert (code, err[:34]) == (1, 'error adding image: "oci-3": canno')


def test_saving(run) -> None:
    """What was saved comes back after it was deleted, and only then."""
    assert run("-buildLog=log", "add", "saved", "tree", "", "") == (0, "", "")
    assert run("save-to-file", "saved", "saved.file") == (0, "", "")
    code, _, err = run("restore-from-file", "saved.file")
    assert (code, err) == (1, "error restoring image: saved already exists\n")
    assert run("delete", "saved") == (0, "", "")
    assert run("restore-from-file", "saved.file") == (0, "", "restored image: saved\n")
    assert run("get-build-log", "saved") == (0, "built\n", "")
    assert run("delete", "saved") == (0, "", "")
    damaged = bytearray((run.folder / "saved.file").read_bytes())
    damaged[-3] ^= 1
    (run.folder / "damaged.file").write_bytes(damaged)
    code, _, err = run("restore-from-file", "damaged.file")
    assert (code, err[:40]) == (1, "error restoring image: corrupted object:")


def test_objects(run) -> None:
    """Single objects go there and come back."""
    folder = run.folder

    def tool(*words: str) -> tuple[int, str, str]:
        return run(*words, tool="objecttool")

    (folder / "content").write_text("some content")
    (folder / "nothing").touch()
    hash_ = hashlib.sha512(b"some content").hexdigest()
    assert tool("check", hash_) == (1, "", "")
    assert tool("-showHashes", "add", "content", "nothing", "tree") == (
        0,
        f"content: {hash_}\n",
        "",
    )
    assert tool("check", hash_) == (0, "", "")
    assert tool("get", hash_, "-") == (0, "some content", "")
    assert tool("get", hash_, "out") == (0, "", "")
    out = folder / f"out.{hash_}"
    assert out.read_text() == "some content"
    assert out.stat().st_mode & 0o777 == 0o640
    (folder / "hashes").write_text(f"{hash_}\n{PASSWD_HASH}\n")
    assert tool("mget", "hashes", "many") == (0, "", "")
    assert (folder / "many" / PASSWD_HASH).read_text() == PASSWD
    assert tool("mget", "hashes", "many") == (
        1,
        "",
        "error getting objects: many: file exists\n",
    )
    missing = "ab" * 64
    assert tool("get", missing, "-") == (
        1,
        "",
        f"error getting object: unknown object: {missing}\n",
    )
    words = ("import", "http://127.0.0.1:1/", "hashes")
    assert plain(tool(*words)[2]) == "Imported 0 new objects (0 B) in TOOK\n"
    (folder / "hashes").write_text(missing)
    code, _, err = tool(*words)
    assert (code, err[:25]) == (1, "error importing objects: ")
    for direction in ("from", "to"):
        words = ("-testDuration=1ms", f"test-bandwidth-{direction}-server")
        code, out_text, err = tool(*words)
        assert (code, out_text) == (0, "")
        assert "at server: " in err


def test_updates(run) -> None:
    """What there is comes first; a reader that has seen enough is no error."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "imageserver.tool.imagetool",
            *run._flags["imagetool"],
            "get-image-updates",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = []
    while b"INITIAL list received\n" not in lines:
        lines.append(process.stdout.readline())
    assert {b"DIR: .\n", b"DIR: base\n", b"INIT: base/1\n"} <= set(lines)
    assert run("mkdir", "news") == (0, "", "")
    assert process.stdout.readline() == b"MKDIR: news\n"
    assert run("rmdir", "news") == (0, "", "")
    assert process.stdout.readline() == b"DELETE DIRECTORY: news\n"
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"interrupted\n")
    run.seen.add(("imagetool", "get-image-updates"))


def test_documents(run) -> None:
    """Manual pages and completion name every command; each has help of its own."""
    for tool, program in (("imagetool", PROGRAM), ("objecttool", OBJECT_PROGRAM)):
        _, page, _ = run("manual", tool=tool)
        scripts = [
            run("completion", shell, tool=tool)[1] for shell in ("bash", "zsh", "fish")
        ]
        for command in program.commands:
            assert f"{command.name}" in page
            assert all(command.name in script for script in scripts)
            code, out, err = run(command.name, "-h", tool=tool)
            assert (code, err) == (0, "")
            assert out.startswith(f"Usage: {tool} [flags...] {command.name}")
            assert "Example:" in out
    code, _, err = run("completion", "tcsh")
    assert (code, err) == (
        1,
        "error: unknown shell: tcsh (bash, zsh and fish are known)\n",
    )


def test_all_commands_were_run(run) -> None:
    """No command was forgotten here."""
    for tool, program in (("imagetool", PROGRAM), ("objecttool", OBJECT_PROGRAM)):
        names = {(tool, command.name) for command in program.commands}
        assert names - run.seen == set()
