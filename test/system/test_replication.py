"""A replica follows its master, and another one follows it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from calls import fetch
from cryptography.x509 import load_pem_x509_certificate
from cuts import Cuts
from processes import Certificates, wait_until
from replicas import Site, add_image, has_objects, upload

from imageserver.gob import Time
from imageserver.model import image_messages as messages
from imageserver.model.hash import hash_of
from imageserver.model.object_messages import (
    ImportObjectsRequest,
    ImportObjectsResponse,
)
from imageserver.tool.authority import Validity
from imageserver.tool.revocation_list import extend_list

pytestmark = pytest.mark.system

NANOSECONDS = 10**9
REFUSAL = "cannot make changes while under replication control, go to master: "


@attrs.frozen
class Chain:
    """A master, a replica, and a replica of the replica."""

    master: Site
    middle: Site
    last: Site

    def settle(self) -> None:
        """Wait until all have the same."""
        self.middle.wait_for(self.master)
        self.last.wait_for(self.middle)


@pytest.fixture(scope="module")
def chain(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Chain]:
    """A chain with thirty images, which share objects."""
    root = tmp_path_factory.mktemp("chain")
    sites = [Site(root, name, certificates) for name in ("first", "second", "third")]
    master, middle, last = sites
    try:
        master.start()
        with master.daemon.client() as client:
            for number in range(30):
                contents = [b"%d" % (number // 3), b"%d" % (number // 2), b"all"]
                reply = add_image(client, f"image{number}", dict.fromkeys(contents))
                assert reply == messages.AddImageResponse()
        middle.start(master=master)
        last.start(master=middle)
        chain = Chain(*sites)
        chain.settle()
        yield chain
    finally:
        for site in sites:
            site.close()


def later(seconds: float) -> Time:
    """A time from now, in whole seconds."""
    return Time.from_nanoseconds(int(time.time() + seconds) * NANOSECONDS)


def test_initial(chain: Chain) -> None:
    """At the end of the chain all images are whole, and as the master has them."""
    assert len(chain.last.names()) == 30
    assert fetch(chain.last.daemon, [b"all", b"3"]) == b"all3"
    request = messages.GetImageRequest("image7")
    images = [
        site.call("GetImage", request, messages.GetImageResponse).image
        for site in (chain.master, chain.last)
    ]
    assert images[0] is not None
    assert images[0] == images[1]
    reply = chain.last.call(
        "GetReplicationMaster",
        messages.GetReplicationMasterRequest(),
        messages.GetReplicationMasterResponse,
    )
    assert chain.middle.relay is not None
    assert reply.replication_master == f"127.0.0.1:{chain.middle.relay.port}"


def test_changes(chain: Chain) -> None:
    """Whatever changes on the master arrives at the end of the chain."""
    master, last = chain.master, chain.last
    no_reply = messages.MakeDirectoryResponse()
    request = messages.MakeDirectoryRequest("new/inner", True)
    assert master.call("MakeDirectory", request, type(no_reply)) == no_reply
    owner = messages.ChangeOwnerRequest("new", "daemon")
    reply = master.call("ChownDirectory", owner, messages.ChangeOwnerResponse)
    assert reply == messages.ChangeOwnerResponse()
    with master.daemon.client() as client:
        for name, expires_at in (
            ("new/inner/image", Time.ZERO),
            ("new/short", later(3)),
            ("new/long", later(100)),
        ):
            reply = add_image(client, name, [b"new"], expires_at=expires_at)
            assert reply == messages.AddImageResponse()
    chain.settle()
    written = (last.daemon.images / ".audit.jsonl").read_text()
    assert '"replication master"' in written
    assert '"ImageServer.AddImage", "subject": "new/inner/image"' in written
    assert last.directories()["new"] == "daemon"
    change = messages.ChangeImageExpirationRequest(later(200), "new/long")
    reply = master.call(
        "ChangeImageExpiration", change, messages.ChangeImageExpirationResponse
    )
    assert reply == messages.ChangeImageExpirationResponse()

    def expiration() -> Time:
        request = messages.GetImageExpirationRequest("new/long")
        response = messages.GetImageExpirationResponse
        found: Time = last.call("GetImageExpiration", request, response).expires_at
        return found

    wait_until(lambda: expiration() == change.expires_at)
    wait_until(lambda: "new/short" not in last.names())
    delete = messages.DeleteImageRequest("new/inner/image")
    reply = master.call("DeleteImage", delete, messages.DeleteImageResponse)
    assert reply == messages.DeleteImageResponse()
    remove = messages.DeleteDirectoryRequest("new/inner")
    reply = master.call("DeleteDirectory", remove, messages.DeleteDirectoryResponse)
    assert reply == messages.DeleteDirectoryResponse()
    wait_until(lambda: "new/inner" not in last.directories())
    chain.settle()


def test_refusals(chain: Chain) -> None:
    """A replica changes nothing alone, and says where to go."""
    assert chain.master.relay is not None
    address = f"127.0.0.1:{chain.master.relay.port}"
    text = REFUSAL + address
    no_tree = messages.ImportTreeRequest("x", tree_url="http://127.0.0.1:9/tree/0")
    expire = messages.ChangeImageExpirationRequest(Time.ZERO, "image1")
    told = messages.GetImageArchiveResponse(replication_master=address)
    restored = messages.RestoreImageFromArchiveResponse(replication_master=address)
    owner = messages.ChangeOwnerRequest(".", "daemon")
    for request, expected in (
        (messages.MakeDirectoryRequest("x"), text),
        (messages.DeleteDirectoryRequest("x"), text),
        (messages.DeleteImageRequest("image1"), text),
        (owner, text),
        (expire, messages.ChangeImageExpirationResponse(text)),
        (no_tree, messages.ImportTreeResponse(error=text)),
        (messages.GetImageArchiveRequest("image1"), told),
        (messages.RestoreImageFromArchiveRequest(b""), restored),
    ):
        method = type(request).__name__.removesuffix("Request")
        method = "ChownDirectory" if method == "ChangeOwner" else method
        response = getattr(messages, f"{type(request).__name__[:-7]}Response")
        assert chain.middle.call(method, request, response) == expected
    with chain.middle.daemon.client() as client:
        reply = client.call(
            "ObjectServer.ImportObjects",
            ImportObjectsRequest("http://127.0.0.1:9", (hash_of(b"?"),), (1,)),
            ImportObjectsResponse,
        )
    assert reply == ImportObjectsResponse(error=text)


def test_additions(chain: Chain) -> None:
    """What is added to a replica goes to the master first, and to all."""
    master, last = chain.master, chain.last
    known, new = b"all", b"added to the last one"
    with last.daemon.client() as client:
        answers = upload(client, [known, new])
        assert [answer.added for answer in answers] == [False, True]
        assert has_objects(master, [new])
        reply = add_image(client, "added", [known, new])
        assert reply == messages.AddImageResponse()
        assert "added" in master.names()
        again = add_image(client, "added", [known])
        assert again == "image already exists"
        nowhere = add_image(client, "nowhere/image", [known])
        assert nowhere == 'no metadata for: "nowhere"'
    chain.settle()
    request = messages.GetImageRequest("added")
    image = master.call("GetImage", request, messages.GetImageResponse).image
    assert image is not None
    assert image.created_by == "admin"
    assert not last.logs(b"Replicator(added): add image")


def test_master_is_away(chain: Chain) -> None:
    """Without its master a replica goes on, adds nothing, and comes back to it."""
    master, middle = chain.master, chain.middle
    assert master.daemon.stop() == 0
    wait_until(lambda: middle.logs(b"Connection to image replicator closed"))
    assert fetch(middle.daemon, [b"all"]) == b"all"
    with middle.daemon.client() as client:
        (answer,) = upload(client, [b"too late"])
        assert answer.error.startswith("cannot pass on to replication master: ")
    master.start()
    with master.daemon.client() as client:
        add_image(client, "back", [b"back"])
    chain.settle()
    assert "back" in chain.last.names()


def test_revoked(chain: Chain) -> None:
    """Who is revoked keeps what it has, says why, and goes on when it is let in."""
    master, middle = chain.master, chain.middle
    certificates = master.daemon.certificates
    lists = certificates.directory / "CRL.pem"
    own = certificates.of(middle.name) / "cert.pem"
    serial = load_pem_x509_certificate(own.read_bytes()).serial_number
    day = Validity.of_days(1)
    lists.write_bytes(extend_list(certificates.authority, b"", [serial], day))
    before = middle.names()
    master.daemon.stop()
    master.start(f"-CRLfile={lists}")
    wait_until(lambda: middle.logs(b"does the server accept our certificate?"))
    with master.daemon.client() as client:
        add_image(client, "after", [b"after"])
    assert middle.names() == before
    shutil.rmtree(own.parent)
    certificates.issue(middle.name, hosts=("127.0.0.1",), methods=("*.*",))
    chain.settle()
    assert "after" in chain.last.names()


def test_older_master_and_repair(chain: Chain) -> None:
    """A master that is an older copy is followed, too; what is damaged is fetched."""
    master, middle = chain.master, chain.middle
    master.daemon.stop()
    copy = master.daemon.root / "copy"
    shutil.copytree(master.daemon.images, copy)
    master.start()
    with master.daemon.client() as client:
        add_image(client, "lost", [b"lost"])
    chain.settle()
    master.daemon.stop()
    middle.daemon.stop()
    shutil.rmtree(master.daemon.images)
    copy.rename(master.daemon.images)
    damaged = hash_of(b"9").hex()
    path = middle.daemon.objects / damaged[:2] / damaged[2:4] / damaged[4:]
    path.unlink()
    (middle.daemon.images / "image4").write_bytes(b"damaged")
    master.start()
    middle.start(master=master)
    wait_until(lambda: has_objects(middle, [b"9"]))
    wait_until(lambda: "image4" in middle.names())
    wait_until(lambda: "lost" not in chain.last.names())
    chain.settle()
    wait_until(lambda: middle.logs(b"missing objects again"))


def test_archive(chain: Chain, tmp_path, certificates: Certificates) -> None:
    """An archive keeps what the master deletes, but takes nothing that expires."""
    archive = Site(tmp_path, "archive", certificates)
    try:
        archive.start("-archiveMode", master=chain.master)
        wait_until(lambda: "image0" in archive.names())
        with chain.master.daemon.client() as client:
            add_image(client, "expiring", [b"e"], expires_at=later(100))
            add_image(client, "doomed", [b"d"])
        wait_until(lambda: "doomed" in archive.names())
        delete = messages.DeleteImageRequest("doomed")
        chain.master.call("DeleteImage", delete, messages.DeleteImageResponse)
        with chain.master.daemon.client() as client:
            add_image(client, "witness", [b"w"])
        wait_until(lambda: "witness" in archive.names())
        assert "doomed" in archive.names()
        assert "expiring" not in archive.names()
        wait_until(lambda: archive.logs(b"Running in archive mode"))
    finally:
        archive.close()


def test_on_demand(chain: Chain, tmp_path, certificates: Certificates) -> None:
    """What is left out comes when somebody asks, and only then."""
    nothing = tmp_path / "filter"
    nothing.write_text("none\n")
    cache = Site(tmp_path, "cache", certificates)
    flags = (f"-replicationIncludeFilter={nothing}", "-replicationOnDemand")
    request = messages.GetImageRequest("image3")
    try:
        cache.start(*flags, master=chain.master)
        wait_until(lambda: cache.logs(b"Replicated all"))
        assert cache.names() == set()
        reply = cache.call("GetImage", request, messages.GetImageResponse)
        assert reply.image is not None
        assert cache.names() == {"image3"}
    finally:
        cache.close()


def test_disk_full(chain: Chain, tmp_path, certificates: Certificates) -> None:
    """A replica whose disk is full has what fits, says so, and goes on later."""
    small = Site(tmp_path, "small", certificates)
    disk = small.daemon.objects
    mount(disk, "size=4m,mode=700")
    try:
        with chain.master.daemon.client() as client:
            for number in range(6):
                add_image(client, f"big{number}", [bytes([number]) * 1_000_000])
        small.start("-minimumFreeSpace=64KiB", master=chain.master)
        wait_until(lambda: small.logs(b"no space for 1000000 bytes of objects"))
        wait_until(lambda: "image0" in small.names())
        assert not chain.master.names() <= small.names()
        mount(disk, "remount,size=32m")
        small.wait_for(chain.master)
    finally:
        small.close()
        subprocess.run(["umount", str(disk)], check=True)


def mount(path: Path, options: str) -> None:
    """Mount a disk in memory, or mount it again with other options."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no disks can be mounted: {done.stderr.decode()}")


def test_cycle(chain: Chain, tmp_path, certificates: Certificates) -> None:
    """A server that would follow itself by way of others refuses, and says so."""
    site = Site(tmp_path, "snake", certificates)
    try:
        site.start(master=chain.last)
        wait_until(lambda: site.logs(b"Replicated all"))
        assert chain.last.relay is not None
        site.daemon.stop()
        before, chain.last.relay.target = chain.last.relay.target, 0
        site.start(master=chain.last)
        chain.last.relay.target = site.daemon.port  # now its master is it itself
        wait_until(lambda: site.logs(b"a cycle of replication masters"))
        chain.last.relay.target = before
        wait_until(lambda: site.logs(b"Replicated all"))
    finally:
        site.close()


@pytest.mark.timeout(300)
def test_cuts(tmp_path) -> None:
    """A replica that is killed or cut off goes on where it was."""
    cuts = Cuts(tmp_path, seed=1)
    try:
        cuts.kill()
        cuts.cut_often(3)
    finally:
        cuts.close()
