"""Which chains give an identity, and which give methods: no connection is needed."""

from __future__ import annotations

import datetime
import functools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from srpc.peers import YEAR

from imageserver.errors import CertificateError
from imageserver.srpc.trust import Trust
from imageserver.tool.authority import Authority, Validity
from imageserver.tool.extensions import CA_EXTENSIONS, method_extension

NOW = datetime.datetime.now(datetime.UTC)


@functools.cache
def root(name: str) -> Authority:
    """A CA, always the same of that name."""
    return Authority.create(name, YEAR)


def chain_of(issuer: Authority, **options) -> list[x509.Certificate]:
    """What a user sends whose certificate permits everything."""
    options = {"methods": ["*.*"], "groups": ["ops"]} | options
    pair = issuer.issue("alice", YEAR, **options)
    return x509.load_pem_x509_certificates(pair.certificate)


def leaf(issuer: Authority, *extensions: x509.ExtensionType) -> x509.Certificate:
    """A certificate with these extensions, and all methods."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = chain_of(root("full"))[0].subject
    wanted = [*method_extension(["*.*"]), *((found, False) for found in extensions)]
    return issuer.sign(subject, key.public_key(), YEAR, wanted)


@pytest.fixture
def trust() -> Trust:
    """A full CA, and one for identity only."""
    return Trust([root("full").certificate], [root("identity").certificate])


def test_full(trust: Trust) -> None:
    """Below the full CA, user, groups and methods count."""
    found = trust.identify(chain_of(root("full")), NOW)
    assert (found.user, found.groups) == ("alice", {"ops"})
    assert found.methods == ("*.*",)


def test_identity(trust: Trust) -> None:
    """Below the identity CA, user and groups count, methods do not."""
    found = trust.identify(chain_of(root("identity")), NOW)
    assert (found.user, found.groups) == ("alice", {"ops"})
    assert found.methods == ()


@pytest.mark.parametrize("file", ["full", "identity"])
def test_intermediates(trust: Trust, file: str) -> None:
    """A chain of intermediates counts for what is at its end, in any order."""
    middle = root(file).intermediate("middle", YEAR)
    sent = chain_of(middle.intermediate("lower", YEAR))
    assert len(sent) == 3
    for order in (sent, [sent[0], sent[2], sent[1]], [*sent, root("x").certificate]):
        found = trust.identify(order, NOW)
        assert bool(found.methods) == (file == "full")
    with pytest.raises(CertificateError, match="no chain to a trusted"):
        trust.identify(sent[:2], NOW)


@pytest.mark.parametrize("claims", [False, True])
def test_intermediate_of_that_name(trust: Trust, claims: bool) -> None:
    """Who has the identity CA's key gets no methods by the name of an intermediate.

    That is the hole of the reference. ``claims``: the leaf names the full CA's key.
    """
    full, identity = root("full").certificate, root("identity")
    forged = identity.intermediate("full", YEAR)
    assert forged.certificate.subject == full.subject
    sent = chain_of(forged)
    if claims:
        named = Authority(full, forged.key, forged.chain)
        sent = chain_of(named)
        assert sent[0].issuer == full.subject
    for order in (sent, [*sent, full], [*sent, full, identity.certificate]):
        try:
            found = trust.identify(order, NOW)
        except CertificateError:
            continue  # OpenSSL has tried the other one only
        assert found.methods == ()


def test_identity_below_full() -> None:
    """An intermediate in the identity file gives no methods, though it is below full.

    Not even by a certificate of its own with another name for the same key.
    """
    middle = root("full").intermediate("middle", YEAR)
    trust = Trust([root("full").certificate], [middle.certificate])
    other = root("full").sign(
        chain_of(root("full"))[0].issuer,
        middle.key.public_key(),
        YEAR,
        CA_EXTENSIONS,
    )
    alias = Authority(other, middle.key, (other,))
    for issuer in (middle, middle.intermediate("lower", YEAR), alias):
        found = trust.identify(chain_of(issuer), NOW)
        assert (found.user, found.methods) == ("alice", ())
    assert trust.identify(chain_of(root("full")), NOW).methods == ("*.*",)


def test_in_both_files() -> None:
    """An authority in both files gives methods."""
    certificate = root("full").certificate
    trust = Trust([certificate], [certificate])
    assert trust.authorities == (certificate,)
    assert trust.identify(chain_of(root("full")), NOW).methods == ("*.*",)


def test_strangers(trust: Trust) -> None:
    """Another CA, one of the same name, and a leaf as CA give nothing."""
    impostor = Authority.create("full", YEAR)
    alice = root("full").issue("alice", YEAR)
    holder = root("full")
    own = x509.load_pem_x509_certificate(alice.certificate)
    forger = Authority(own, ec.generate_private_key(ec.SECP256R1()), (own,))
    for issuer in (root("foreign"), impostor, forger):
        with pytest.raises(CertificateError):
            trust.identify(chain_of(issuer), NOW)
        with pytest.raises(CertificateError):
            trust.identify([*chain_of(issuer), holder.certificate], NOW)
    for nobody in (Trust([]), Trust([], [])):
        with pytest.raises(CertificateError):
            nobody.identify(chain_of(root("full")), NOW)


def test_time(trust: Trust) -> None:
    """A certificate counts while it is valid, by the time that is given."""
    sent = chain_of(root("full"))
    for _ in range(2):
        for days in (-1, 366):
            with pytest.raises(CertificateError):
                trust.identify(sent, NOW + datetime.timedelta(days=days))
        assert trust.identify(sent, NOW).user == "alice"


@pytest.mark.parametrize(
    ("purposes", "good"),
    [
        ([ExtendedKeyUsageOID.CLIENT_AUTH], True),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], True),
        ([ExtendedKeyUsageOID.SERVER_AUTH], False),
        ([ExtendedKeyUsageOID.CODE_SIGNING], False),
    ],
)
def test_purposes(trust: Trust, purposes: list, good: bool) -> None:
    """An extended key usage has to name clients; that of an intermediate, too."""
    usage = x509.ExtendedKeyUsage(purposes)
    middle = root("full").intermediate("middle", YEAR)
    limited = root("full").sign(
        middle.certificate.subject,
        middle.key.public_key(),
        YEAR,
        [*CA_EXTENSIONS, (usage, False)],
    )
    below = Authority(limited, middle.key, (limited,))
    for sent in ([leaf(root("full"), usage)], [leaf(below), limited]):
        if good:
            assert trust.identify(sent, NOW).methods == ("*.*",)
        else:
            with pytest.raises(CertificateError):
                trust.identify(sent, NOW)
    assert trust.identify([leaf(root("full"))], NOW).methods == ("*.*",)


def test_no_key_identifiers(trust: Trust) -> None:
    """Plain OpenSSL makes certificates that name no keys; they do (trap 14)."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .issuer_name(root("full").certificate.subject)
        .subject_name(chain_of(root("full"))[0].subject)
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(YEAR.not_before)
        .not_valid_after(YEAR.not_after)
        .add_extension(*method_extension(["*.*"])[0])
        .sign(root("full").key, hashes.SHA256())
    )
    assert trust.identify([made], NOW).methods == ("*.*",)


def test_expired_authority(trust: Trust) -> None:
    """An authority that has expired vouches for nobody."""
    old = Authority.create("old", Validity.of_days(-1))
    pair = old.sign(
        chain_of(root("full"))[0].subject,
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        YEAR,
        [],
    )
    with pytest.raises(CertificateError):
        Trust([old.certificate]).identify([pair], NOW)
