"""Who may call what: every kind of client at every endpoint, under all flags.

The expected answers come from the rules in this file, which restate
``docs/security.md`` and know nothing of the code. An endpoint is one line of
``ENDPOINTS``, a kind of certificate one of ``CERTIFICATES``, a set of flags one of
``FLAGS``.
"""

from __future__ import annotations

import datetime
import functools
import itertools
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from srpc.peers import (
    YEAR,
    Link,
    Outer,
    Recorder,
    authority,
    key_pair,
    make_server,
    server_pair,
)
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site

from imageserver.srpc.access import Policy
from imageserver.srpc.front_door import FrontDoor
from imageserver.srpc.methods import Method
from imageserver.srpc.protocol import ACCEPTED
from imageserver.srpc.revocation import Revocations, parse_lists
from imageserver.srpc.tls import ClientTLS, KeyPair, ServerTLS
from imageserver.srpc.trust import Trust
from imageserver.tool.authority import Authority, Validity
from imageserver.tool.extensions import group_extension, method_extension
from imageserver.tool.revocation_list import extend_list

# What can be called, and the answers there are.

METHODS = ("Power", "Public", "Read")
"""Needs power; for every user; a reading one: public, and open if a flag says so."""

POWER, OK, DENIED = "ran with power", "ran", "access to method denied"
NO_ENDPOINT, TLS_WANTED, CERTIFICATE_WANTED = "404", "405", "401"
REFUSED = "refused"
"""The connection ends without a single answer."""


@attrs.frozen
class Flags:
    """How the server is set up, and whether the client wants to be powerless."""

    name: str
    powers: bool = True
    insecure: bool = False
    open_reads: bool = False
    identity_file: bool = True
    trusted_users: tuple[str, ...] = ()
    trusted_groups: tuple[str, ...] = ()
    lists: tuple[str, ...] = ("full", "identity", "middle")
    strict: bool = False


FLAGS = (
    Flags("default"),
    Flags("no identity CA", identity_file=False),
    Flags("doNotUseMethodPowers", powers=False),
    Flags("open reads", open_reads=True),
    Flags("open reads, no powers", open_reads=True, powers=False),
    Flags("trusted user", trusted_users=("alice", "")),
    Flags("trusted user, open reads", trusted_users=("alice", ""), open_reads=True),
    Flags("trusted user, no powers", trusted_users=("alice",), powers=False),
    Flags("other trusted user", trusted_users=("Alice",)),
    Flags("trusted group", trusted_groups=("ops",)),
    Flags("trusted group, no powers", trusted_groups=("ops",), powers=False),
    Flags("strict", strict=True),
    Flags("strict, lists missing", strict=True, lists=("full",)),
    Flags("strict, list of the root expired", strict=True, lists=("full expired",)),
    Flags("list of the root expired", lists=("full expired",)),
    Flags("no lists", lists=()),
    Flags("insecure", insecure=True),
    Flags("insecure, no powers", insecure=True, powers=False),
    Flags("insecure, open reads", insecure=True, open_reads=True),
    Flags("insecure, open, no powers", insecure=True, open_reads=True, powers=False),
)


@attrs.frozen
class Kind:
    """A kind of certificate, and what the rules know about it.

    Attributes:
        make: makes one.
        file: which CA file its chain ends in; empty: it is never good.
        user: the common name.
        methods: which of ``METHODS`` are on its list.
        groups: what it lists.
        issuers: whose lists a strict server needs.
        revoked_by: on whose list it is, or one above it.
    """

    name: str
    make: Callable[[], KeyPair | None]
    file: str = ""
    user: str = "alice"
    methods: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ("full",)
    revoked_by: str = ""


# Certificates.

DAY = datetime.timedelta(days=1)
FULL, IDENTITY = authority(), authority("identity")


@functools.cache
def middle(below: Authority, name: str = "middle") -> Authority:
    """An intermediate; always the same."""
    return below.intermediate(name, YEAR)


def issue(issuer: Authority, name: str = "alice", *, alone=False, **options) -> KeyPair:
    """A usual certificate; ``alone``: without what is above it."""
    pair = key_pair(issuer.issue(name, options.pop("validity", YEAR), **options))
    return KeyPair(pair.certificates[:1], pair.key) if alone else pair


def special(
    issuer: Authority, *purposes: x509.ObjectIdentifier, name: str = "alice"
) -> KeyPair:
    """A certificate with all methods, and a key usage of its own if any."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else []
    )
    extensions = [*method_extension(["*.*"]), *group_extension(["ops"])]
    if purposes:
        extensions.append((x509.ExtendedKeyUsage(purposes), False))
    leaf = issuer.sign(subject, key.public_key(), YEAR, extensions)
    return KeyPair((leaf, *issuer.chain), key)


@functools.cache
def revoked(issuer: Authority) -> KeyPair:
    """A certificate that is on the list of its issuer."""
    return issue(issuer, methods=["*.*"])


def self_signed() -> KeyPair:
    """Nobody vouches for it."""
    return key_pair(Authority.create("alice", YEAR).pair)


def forged_intermediate() -> KeyPair:
    """By the identity CA's holder, who calls an intermediate like the full CA."""
    return issue(IDENTITY.intermediate("root", YEAR), methods=["*.*"])


NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
TOMORROW = Validity(NOW + DAY, NOW + 2 * DAY)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
BELOW = ("full", "middle")

CERTIFICATES = (
    Kind("none", lambda: None),
    Kind("foreign CA", lambda: issue(authority("foreign"), methods=["*.*"])),
    Kind("foreign CA of the same name", lambda: issue(Authority.create("root", YEAR))),
    Kind("self-signed", self_signed),
    Kind("expired", lambda: issue(FULL, validity=Validity.of_days(-1))),
    Kind("not yet valid", lambda: issue(FULL, validity=TOMORROW)),
    Kind("for servers only", lambda: special(FULL, SERVER)),
    Kind("no name", lambda: special(FULL, name="")),
    Kind("intermediate not sent", lambda: issue(middle(FULL), alone=True)),
    Kind("revoked", lambda: revoked(FULL), "full", methods=METHODS, revoked_by="full"),
    Kind(
        "revoked by an intermediate",
        lambda: revoked(middle(FULL)),
        "full",
        methods=METHODS,
        issuers=BELOW,
        revoked_by="middle",
    ),
    Kind(
        "revoked intermediate",
        lambda: issue(middle(FULL, "gone"), methods=["*.*"]),
        "full",
        methods=METHODS,
        issuers=("full", "gone"),
        revoked_by="full",
    ),
    Kind("full CA, nothing", lambda: issue(FULL), "full"),
    Kind(
        "full CA, methods",
        lambda: issue(FULL, methods=["*.*"]),
        "full",
        methods=METHODS,
    ),
    Kind(
        "full CA, another method",
        lambda: issue(FULL, methods=["Test.Powe", "test.*"]),
        "full",
    ),
    Kind(
        "full CA, group", lambda: issue(FULL, groups=["ops"]), "full", groups=("ops",)
    ),
    Kind("full CA, bob", lambda: issue(FULL, "bob"), "full", user="bob"),
    Kind(
        "no key usage",
        lambda: special(FULL),
        "full",
        methods=METHODS,
        groups=("ops",),
    ),
    Kind(
        "for servers and clients",
        lambda: special(FULL, SERVER, CLIENT),
        "full",
        methods=METHODS,
        groups=("ops",),
    ),
    Kind(
        "intermediate",
        lambda: issue(middle(FULL), methods=["Test.P[oa]*"]),
        "full",
        methods=("Power",),
        issuers=BELOW,
    ),
    Kind(
        "identity CA",
        lambda: issue(IDENTITY, methods=["*.*"]),
        "identity",
        methods=METHODS,
        issuers=("identity",),
    ),
    Kind(
        "identity CA, group",
        lambda: issue(IDENTITY, "bob", methods=["*.*"], groups=["ops"]),
        "identity",
        user="bob",
        methods=METHODS,
        groups=("ops",),
        issuers=("identity",),
    ),
    Kind(
        "identity CA, intermediate called like the full CA",
        forged_intermediate,
        "identity",
        methods=METHODS,
        issuers=("identity", "forged"),
    ),
)


# The rules.


def is_good(kind: Kind, flags: Flags) -> bool:
    """Whether the certificate makes its holder somebody."""
    if kind.file != "full" and not (kind.file and flags.identity_file):
        return False
    lists = {name.split()[0] for name in flags.lists}
    if kind.revoked_by in lists:
        return False
    return not flags.strict or set(kind.issuers) <= set(flags.lists)


def answer_to_user(kind: Kind, method: str, flags: Flags) -> str:
    """To the holder of a good certificate."""
    if flags.powers and (
        (method in kind.methods and kind.file == "full")
        or kind.user in flags.trusted_users
        or not set(kind.groups).isdisjoint(flags.trusted_groups)
    ):
        return POWER
    return DENIED if method == "Power" else OK


def over_tls(kind: Kind, method: str, flags: Flags) -> str:
    """TLS inside the connection."""
    if flags.insecure:
        return NO_ENDPOINT
    return answer_to_user(kind, method, flags) if is_good(kind, flags) else REFUSED


def unsecured(_kind: Kind, method: str, flags: Flags) -> str:
    """No TLS: the caller is nobody."""
    if not flags.insecure and not flags.open_reads:
        return TLS_WANTED
    if flags.insecure and flags.powers:
        return POWER
    return OK if flags.open_reads and method == "Read" else DENIED


def inside_tls(kind: Kind, method: str, flags: Flags) -> str:
    """TLS from the first byte on, then the TLS endpoint."""
    if flags.insecure:
        return REFUSED
    if not is_good(kind, flags):
        return CERTIFICATE_WANTED
    return answer_to_user(kind, method, flags)


def unsecured_inside_tls(kind: Kind, method: str, flags: Flags) -> str:
    """Who the caller is does not count where nobody asks."""
    return REFUSED if flags.insecure else unsecured(kind, method, flags)


# The clients.


def ask(
    server: Any, clock: Clock, path: bytes, line: bytes, tls: ClientTLS | None
) -> str:
    """CONNECT, then TLS if there is to be any, then a call."""
    greeting, inner = Recorder(), Recorder()
    site = Site(Resource(), reactor=clock)
    link = Link(clock, FrontDoor(server, site), greeting)
    greeting.transport.write(b"CONNECT " + path + b" HTTP/1.0\n\n")
    link.pump()
    head = greeting.take()
    if head != ACCEPTED:
        return head.split()[1].decode()
    if tls is None:
        inner = greeting
        greeting.transport.write(line)
    else:
        outer = Outer(inner, tls)
        link.right.protocol = outer
        outer.makeConnection(link.right)
        outer.tls.write(line)
    link.pump()
    return take_answer(link, inner)


def ask_inside(
    server: Any, clock: Clock, path: bytes, line: bytes, tls: ClientTLS
) -> str:
    """TLS, then CONNECT, then a call."""
    inner = Recorder()
    site = Site(Resource(), reactor=clock)
    link = Link(clock, FrontDoor(server, site), Outer(inner, tls))
    inner.transport.write(b"CONNECT " + path + b" HTTP/1.0\n\n")
    link.pump()
    head = inner.take()
    if head == ACCEPTED:
        inner.transport.write(line)
        link.pump()
    elif head.startswith(b"HTTP/1.0 "):
        return head.split()[1].decode()
    return take_answer(link, inner)


def take_answer(link: Link, inner: Recorder) -> str:
    """The answer to a call; the connection ends."""
    answer = inner.take()
    if not (ended := inner.ended is not None):
        link.right.abortConnection()
        link.pump()
    if not answer:
        assert ended
        return REFUSED
    assert not ended
    return answer.decode().strip("\n")


@attrs.frozen
class Endpoint:
    """A way to call.

    Attributes:
        path: where.
        tls: whether with a certificate.
        expected: the rules by which it answers.
        ask: the client.
    """

    path: bytes
    tls: bool
    expected: Callable[[Kind, str, Flags], str]
    ask: Callable[..., str] = ask


ENDPOINTS = {
    "gob, TLS": Endpoint(b"/_go_TLS_SRPC_/", True, over_tls),
    "gob, unsecured": Endpoint(b"/_goSRPC_/", False, unsecured),
    "TLS, gob, TLS": Endpoint(b"/_go_TLS_SRPC_/", True, inside_tls, ask_inside),
    "TLS, gob, unsecured": Endpoint(
        b"/_goSRPC_/", True, unsecured_inside_tls, ask_inside
    ),
    "JSON, TLS": Endpoint(b"/_SRPC_/TLS/JSON", True, over_tls),
    "JSON, unsecured": Endpoint(b"/_SRPC_/unsecured/JSON", False, unsecured),
    "TLS, JSON, TLS": Endpoint(b"/_SRPC_/TLS/JSON", True, inside_tls, ask_inside),
    "TLS, JSON, unsecured": Endpoint(
        b"/_SRPC_/unsecured/JSON", True, unsecured_inside_tls, ask_inside
    ),
}


# The server.


def revocation_lists(names: tuple[str, ...]) -> Revocations:
    """The lists of these authorities."""
    authorities = {"full": FULL, "identity": IDENTITY, "middle": middle(FULL)}
    lists = []
    for name in names:
        issuer = authorities[name.split()[0]]
        gone = [revoked(issuer).certificates[0].serial_number]
        if issuer is FULL:
            gone.append(middle(FULL, "gone").certificate.serial_number)
        validity = Validity.of_days(-1 if "expired" in name else 1)
        lists += parse_lists(extend_list(issuer, b"", gone, validity))
    return Revocations(tuple(lists))


@functools.cache
def tls_of(flags: Flags) -> ServerTLS:
    """TLS as flags say."""
    revocations = attrs.evolve(revocation_lists(flags.lists), strict=flags.strict)
    identity = [IDENTITY.certificate] if flags.identity_file else []
    return ServerTLS(server_pair(), Trust([FULL.certificate], identity, revocations))


def server_of(flags: Flags, clock: Clock) -> Any:
    """A server as flags say."""

    async def run(call: Any) -> None:
        call.write(b"ran with power\n" if call.caller.has_method_access else b"ran\n")

    methods = [
        Method("Test", "Power", stream=run),
        Method("Test", "Public", public=True, stream=run),
        Method(
            "Test", "Read", public=True, unauthenticated=flags.open_reads, stream=run
        ),
    ]
    policy = Policy(
        insecure=flags.insecure,
        trusted_users=frozenset(flags.trusted_users),
        trusted_groups=frozenset(flags.trusted_groups),
    )
    tls = None if flags.insecure else tls_of(flags)
    return make_server(clock, methods, policy=policy, tls=tls)


@functools.cache
def pair_of(kind: Kind) -> KeyPair | None:
    """The certificate of that kind; always the same."""
    return kind.make()


COMBINATIONS = list(itertools.product(ENDPOINTS, FLAGS))


@pytest.mark.parametrize(
    ("endpoint", "flags"), COMBINATIONS, ids=[f"{e}-{f.name}" for e, f in COMBINATIONS]
)
def test_matrix(endpoint: str, flags: Flags) -> None:
    """Every certificate gets from every method the answer that the rules give."""
    clock = Clock()
    server, way = server_of(flags, clock), ENDPOINTS[endpoint]
    path = way.path + (b"" if flags.powers else b"?doNotUseMethodPowers=true")
    found, expected = {}, {}
    for kind, method in itertools.product(CERTIFICATES, METHODS):
        tls = ClientTLS(pair_of(kind)) if way.tls else None
        line = b"Test." + method.encode() + b"\n"
        found[kind.name, method] = way.ask(server, clock, path, line, tls)
        expected[kind.name, method] = way.expected(kind, method, flags)
    assert found == expected
    assert server.accounting.open_connections == 0
    assert clock.getDelayedCalls() == []


def test_size() -> None:
    """The matrix is large, and every answer is in it."""
    ways = [way.expected for way in ENDPOINTS.values()]
    answers = [
        expected(kind, method, flags)
        for expected, kind, method, flags in itertools.product(
            ways, CERTIFICATES, METHODS, FLAGS
        )
    ]
    assert len(answers) >= 2_000
    for answer in (POWER, OK, DENIED, NO_ENDPOINT, TLS_WANTED, REFUSED):
        assert answers.count(answer) >= 50
    assert answers.count(CERTIFICATE_WANTED) >= 50
