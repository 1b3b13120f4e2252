"""Certificates that were taken back."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from srpc.peers import YEAR

from imageserver.errors import CertificateError
from imageserver.srpc.revocation import RevocationList, Revocations, parse_lists
from imageserver.srpc.trust import Trust
from imageserver.tool.authority import Authority, Validity
from imageserver.tool.revocation_list import extend_list

NOW = datetime.datetime.now(datetime.UTC)
CURRENT, EXPIRED = Validity.of_days(7), Validity.of_days(-1)
LATER = Validity(NOW + datetime.timedelta(days=1), NOW + datetime.timedelta(days=2))
ROOT = Authority.create("root", YEAR)


def chain_of(issuer: Authority) -> list[x509.Certificate]:
    """What a user sends."""
    pair = issuer.issue("alice", YEAR)
    return x509.load_pem_x509_certificates(pair.certificate)


def lists(
    issuer: Authority, *revoked: x509.Certificate, validity: Validity = CURRENT
) -> list[RevocationList]:
    """A list on which these certificates are."""
    serials = [certificate.serial_number for certificate in revoked]
    return parse_lists(extend_list(issuer, b"", serials, validity))


def is_welcome(
    sent: list[x509.Certificate],
    found: list[RevocationList],
    *,
    strict: bool = False,
    authorities: tuple[Authority, ...] = (ROOT,),
) -> bool:
    """Whether the holder of a chain is somebody."""
    certificates = [authority.certificate for authority in authorities]
    trust = Trust(certificates, [], Revocations(tuple(found), strict))
    try:
        return trust.identify(sent, NOW).user == "alice"
    except CertificateError as error:
        assert "revo" in str(error)
        return False


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("validity", [CURRENT, EXPIRED, LATER])
def test_revoked(strict: bool, validity: Validity) -> None:
    """Revoked is refused, by a list of any time; by one among several, too."""
    sent, other = chain_of(ROOT), chain_of(ROOT)
    found = lists(ROOT, *sent, validity=validity)
    assert not is_welcome(sent, found, strict=strict)
    assert not is_welcome(sent, [*found, *lists(ROOT)], strict=strict)
    assert not is_welcome(sent, [*lists(ROOT), *found], strict=strict)
    assert is_welcome(other, [*found, *lists(ROOT)], strict=strict)


@pytest.mark.parametrize(
    ("validity", "strictly"), [(CURRENT, True), (EXPIRED, False), (LATER, False)]
)
def test_time_of_the_list(validity: Validity, strictly: bool) -> None:
    """Only strictness refuses all below an authority whose list is not current."""
    sent, found = chain_of(ROOT), lists(ROOT, validity=validity)
    assert is_welcome(sent, found)
    assert is_welcome(sent, found, strict=True) == strictly
    assert not found[0].is_current(NOW) or strictly


def test_no_list() -> None:
    """Nor does an authority without a list lock anybody out (trap 13)."""
    sent, other = chain_of(ROOT), Authority.create("other", YEAR)
    for found in ([], lists(other)):
        assert is_welcome(sent, found)
        assert not is_welcome(sent, found, strict=True)


def test_list_of_a_namesake() -> None:
    """A list that the authority has not signed counts for nothing."""
    sent = chain_of(ROOT)
    forged = lists(Authority.create("root", YEAR), *sent)
    assert is_welcome(sent, forged)
    assert not is_welcome(sent, forged, strict=True)
    assert is_welcome(sent, [*forged, *lists(ROOT)], strict=True)


def test_intermediates() -> None:
    """Each link of a chain can be revoked; strictly each needs a list."""
    middle = ROOT.intermediate("middle", YEAR)
    sent = chain_of(middle)
    leaf, above = sent
    assert not is_welcome(sent, lists(middle, leaf))
    assert not is_welcome(sent, lists(ROOT, above))
    assert is_welcome(sent, lists(ROOT, leaf))  # not this one's to revoke
    both = [*lists(ROOT), *lists(middle)]
    assert is_welcome(sent, both, strict=True)
    for found in both:
        assert not is_welcome(sent, [found], strict=True)


def test_trusted_intermediate() -> None:
    """An intermediate of the CA file needs no list, but can be revoked by its root."""
    middle = ROOT.intermediate("middle", YEAR)
    sent = chain_of(middle)[:1]
    assert is_welcome(sent, lists(middle), strict=True, authorities=(middle,))
    gone = [*lists(middle), *lists(ROOT, middle.certificate)]
    assert is_welcome(sent, gone, authorities=(middle,))  # nothing to check it with
    for authorities in ((middle, ROOT), (ROOT, middle)):
        assert not is_welcome(sent, gone, authorities=authorities)


def test_several_in_a_file() -> None:
    """Lists follow each other in a file, with text between them."""
    first = extend_list(ROOT, b"", [1, 2], CURRENT)
    second = extend_list(Authority.create("other", YEAR), b"", [3], EXPIRED)
    found = parse_lists(b"comment\n" + first + b"\nmore\n" + second)
    assert [(item.name, item.serials) for item in found] == [
        ("CN=root", {1, 2}),
        ("CN=other", {3}),
    ]
    assert found[1].expires == EXPIRED.not_after
    assert parse_lists(b" \n") == []


@pytest.mark.parametrize("cut", [0, 1])
def test_damaged(cut: int) -> None:
    """What is no list, or half of one, is refused as a whole."""
    good = extend_list(ROOT, b"", [1], CURRENT)
    half = good[: len(good) // 2]
    garbled = good[:40] + b"AAAA" + good[44:]
    for bad in (b"x", good * cut + half, good * cut + garbled, ROOT.pair.certificate):
        with pytest.raises(CertificateError):
            parse_lists(bad)


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(1),
        x509.IssuingDistributionPoint(None, None, True, False, None, False, False),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
    ],
)
def test_partial(extension: x509.ExtensionType) -> None:
    """A list that is not the whole truth is refused: it would say too little."""
    signed = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ROOT.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + datetime.timedelta(days=1))
        .add_extension(extension, critical=True)
        .sign(ROOT.key, hashes.SHA256())
    )
    with pytest.raises(CertificateError, match=r"partial|unknown extension"):
        parse_lists(signed.public_bytes(Encoding.PEM))
