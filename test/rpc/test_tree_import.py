"""ImportTree: what is fetched, and the image that is made of it."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from rpc.web import Response, Web, serve
from stores import Stores
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import RequestError
from imageserver.gob import Time
from imageserver.images.inspection import read_file_system
from imageserver.model.hash import hash_of
from imageserver.model.image_messages import ImportTreeRequest, ImportTreeResponse
from imageserver.model.inode import DirectoryInode, RegularInode, SymlinkInode
from imageserver.rpc import tree_import
from imageserver.rpc.import_sources import ImportSources
from imageserver.rpc.object_import import ObjectImports
from imageserver.rpc.tree_import import TreeImports
from imageserver.srpc.access import Caller, Identity
from imageserver.testing import InlineWorker

NOW_S = 1_700_000_000
FILE, LARGE, TARGET = b"content", b"x" * 5_000, b"../file"
BASE = "http://example.com:80/published"


def entry(name: str, kind: int, content: bytes, size: int | None = None) -> bytes:
    """A line of a directory."""
    length = len(content) if size is None else size
    return f"{name}/{kind}/{0o644 | 0o111 * kind}/1/2/{length}/".encode() + (
        hash_of(content).hex().encode()
    )


INNER = entry("link", 2, TARGET) + b"\n" + entry("large", 0, LARGE) + b"\n"
ROOT = b"\n".join([entry("file", 0, FILE), entry("dir", 1, INNER)])
CONTENTS = [FILE, LARGE, TARGET, INNER, ROOT]


class Trees(SynchronousTestCase):
    """Imports into a real store and database."""

    def setUp(self) -> None:
        stores = Stores(self, self.now_ns)
        self.objects, self.database = stores.objects, stores.database
        self.clock = Clock()
        self.departures: list[Deferred[None]] = []
        self.caller = Caller(Identity("ann"), True, "", self.departure)
        self.database.make_directory("trees", False, self.caller)

    def now_ns(self) -> int:
        return NOW_S * 10**9

    def departure(self) -> Deferred[None]:
        self.departures.append(Deferred(lambda _: None))
        return self.departures[-1]

    def check_length(self, length: int) -> None:
        if length > 10_000:
            raise RequestError("too long")

    def begin(
        self,
        answer: Any,
        root: bytes = ROOT,
        directory: str = "trees",
        url: str = "",
        expires_at: Time = Time.ZERO,
    ) -> Deferred[ImportTreeResponse]:
        """Begin to import a tree."""
        self.web = Web(answer)
        worker = InlineWorker()
        imports = ObjectImports(
            self.objects,
            worker,
            self.web,
            self.clock,
            ImportSources(["http://example.com/"]),
        )
        trees = TreeImports(
            imports,
            self.objects,
            self.database,
            worker,
            worker,
            self.clock,
            self.check_length,
        )
        url = url or f"{BASE}/tree/{hash_of(root).hex()}"
        request = ImportTreeRequest(directory, expires_at, url)
        return Deferred.fromCoroutine(trees.run(self.caller, request))

    def publish(self, *contents: bytes) -> Any:
        """A server that has these."""
        return serve({hash_of(c).hex().encode(): c for c in contents})

    def error(self, *contents: bytes, **options: Any) -> str:
        """Why a tree of these is not imported; nothing is left of it but objects."""
        response = self.successResultOf(self.begin(self.publish(*contents), **options))
        self.assertEqual(response.image_name, "")
        self.assertEqual([*self.database.index.images()], [])
        self.assertFalse(self.objects.leases._living)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return response.error

    def test_import(self) -> None:
        """Everything is fetched once, from where it belongs, and counted."""
        expires_at = Time(NOW_S + 60)
        importing = self.begin(self.publish(*CONTENTS), expires_at=expires_at)
        response = self.successResultOf(importing)
        name = f"trees/{hash_of(ROOT).hex()}"
        expected = ImportTreeResponse(
            file_bytes_added=len(FILE + LARGE),
            file_objects_added=2,
            image_name=name,
            tree_bytes_added=len(ROOT + INNER + TARGET),
            tree_objects_added=3,
        )
        self.assertEqual(response, expected)
        asked = sorted(
            url.decode().removeprefix(f"{BASE}/") for url, _ in self.web.asked
        )
        trees = [f"tree/{hash_of(text).hex()}" for text in (ROOT, INNER)]
        blobs = [f"blob/{hash_of(blob).hex()}" for blob in (FILE, LARGE, TARGET)]
        self.assertEqual(asked, sorted(trees + blobs))
        [record] = self.database.index.images()
        self.assertEqual((record.name, record.expires), (name, True))
        file_system = read_file_system(self.database.files, name)
        inodes = file_system.inodes
        by_name = {e.name: inodes[e.inode_number] for e in file_system.root.entries}
        file = by_name[b"file"]
        self.assertEqual(
            file, RegularInode(0o100644, 1, 2, 0, NOW_S, len(FILE), hash_of(FILE))
        )
        directory = by_name[b"dir"]
        self.assertIsInstance(directory, DirectoryInode)
        large, link = (inodes[e.inode_number] for e in directory.entries)
        self.assertEqual(link, SymlinkInode(1, 2, TARGET))
        self.assertEqual(large.size, len(LARGE))

    def test_what_is_here(self) -> None:
        """What is here is not fetched; in the root, names have no directory."""
        intake = self.objects.intake()
        for content in CONTENTS:
            intake.begin(len(content), None)
            intake.write(content)
        intake.commit()
        response = self.successResultOf(self.begin(self.publish(), directory="."))
        self.assertEqual(response, ImportTreeResponse(image_name=hash_of(ROOT).hex()))
        self.assertEqual(self.web.asked, [])

    def test_again(self) -> None:
        """An image that is there is not imported again."""
        self.successResultOf(self.begin(self.publish(*CONTENTS)))
        response = self.successResultOf(self.begin(self.publish(*CONTENTS)))
        name = f"trees/{hash_of(ROOT).hex()}"
        self.assertEqual(response.error, f"image: {name} already exists")
        self.assertEqual(self.web.asked, [])

    def test_refusals(self) -> None:
        """Wrong requests are refused before anything is fetched."""
        hash_ = hash_of(ROOT).hex()
        for options, error in (
            ({"directory": "none"}, "directory: none does not exist"),
            ({"url": f"{BASE}/blob/{hash_}"}, "not a tree"),
            ({"url": f"{BASE}/tree/abc"}, "not a tree"),
            ({"url": "http://example.com/"}, "not a tree"),
            ({"url": f"http://other.example/tree/{hash_}"}, "are not allowed"),
            ({"url": f"file:///tree/{hash_}"}, "not a plain http or https URL"),
        ):
            self.assertIn(error, self.error(*CONTENTS, **options))
            self.assertEqual(self.web.asked, [])

    def test_incomplete(self) -> None:
        """Something that is not published is named."""
        for content in CONTENTS:
            self.setUp()
            there = [other for other in CONTENTS if other != content]
            error = self.error(*there)
            self.assertIn(hash_of(content).hex(), error)
            self.assertIn("404 Not Found", error)

    def test_wrong_content(self) -> None:
        """Nothing is taken for what it is not, the topmost directory included."""
        for content in CONTENTS:
            self.setUp()
            served = {hash_of(c).hex().encode(): c for c in CONTENTS}
            served[hash_of(content).hex().encode()] = content[:-1] + b"?"
            response = self.successResultOf(self.begin(serve(served)))
            self.assertIn("hash mismatch", response.error)

    def test_sizes(self) -> None:
        """A file has the size that its directory says, whether it is here or not."""
        wrong = entry("file", 0, FILE, len(FILE) + 1)
        self.assertIn("size 7 != 8", self.error(wrong, FILE, root=wrong))
        right = entry("file", 0, FILE)
        root = right + b"\n" + entry("link", 2, FILE)
        self.successResultOf(self.begin(self.publish(FILE, root), root=root))
        self.database.delete(f"trees/{hash_of(root).hex()}", self.caller)
        text = f"existing size: 7 != 8 for: {hash_of(FILE).hex()}"
        self.assertEqual(self.error(wrong, FILE, root=wrong), text)

    def test_limits(self) -> None:
        """Long targets, long files and lines that are none are refused."""
        long = b"t" * 4_096
        root = entry("link", 2, long)
        self.assertIn(
            "4096 bytes: the limit is 4095", self.error(root, long, root=root)
        )
        root = entry("file", 0, bytes(10_001))
        self.assertIn("too long", self.error(root, bytes(10_001), root=root))
        self.assertIn("number of segments: 1", self.error(b"odd", root=b"odd"))
        root = entry("..", 0, FILE)
        self.assertIn("malformed entry name: /..", self.error(root, FILE, root=root))

    def test_depth(self) -> None:
        """Directories do not go down without end."""
        text, contents = entry("file", 0, FILE), []
        for _ in range(10):
            contents.append(text)
            text = entry("d", 1, text)
        with patch.object(tree_import, "_DEPTH", 9):
            error = self.error(*contents, text, root=text)
        self.assertEqual(error, "directories nest too deep")

    def test_client_goes_away(self) -> None:
        """Nothing more is fetched, and no image made, for who has left."""
        held = Response(200, FILE, hold=True)
        there = self.publish(*CONTENTS)

        def answer(url: bytes, headers: Any) -> Any:
            is_held = url.endswith(hash_of(FILE).hex().encode())
            return held if is_held else there(url, headers)

        importing = self.begin(answer)
        self.assertNoResult(importing)
        self.departures[-1].callback(None)
        response = self.successResultOf(importing)
        self.assertEqual(response.error, "the client has left")
        self.assertEqual([*self.database.index.images()], [])
        self.assertTrue(held.stopped)
