"""What certificates say about their holders."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from srpc.peers import YEAR, authority

from imageserver.errors import CertificateError
from imageserver.srpc.access import Identity
from imageserver.srpc.certificate import (
    GROUPS_OID,
    METHODS_OID,
    identity_of,
    parse_string_sequence,
)

KEY = ec.generate_private_key(ec.SECP256R1())
UTF8, PRINTABLE, IA5, SEQUENCE = 0x0C, 0x13, 0x16, 0x30


def der(tag: int, content: bytes) -> bytes:
    """One element, with the shortest length."""
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    digits = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def sequence(*texts: str, tag: int = UTF8) -> bytes:
    """A sequence of strings."""
    return der(SEQUENCE, b"".join(der(tag, text.encode()) for text in texts))


def certificate(
    *names: str, methods: bytes | None = None, groups: bytes | None = None
) -> x509.Certificate:
    """A certificate with these common names and raw extensions."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n) for n in names])
    values = ((METHODS_OID, methods), (GROUPS_OID, groups))
    extensions = [
        (x509.UnrecognizedExtension(oid, value), False)
        for oid, value in values
        if value is not None
    ]
    return authority().sign(subject, KEY.public_key(), YEAR, extensions)


def test_everything():
    """User, methods and groups come from the leaf."""
    methods = bytes.fromhex("30050c032a2e2a")
    groups = bytes.fromhex("300a0c036f70730c03646576")
    expected = Identity("alice", frozenset({"ops", "dev"}), ("*.*",))
    assert identity_of(certificate("alice", methods=methods, groups=groups)) == expected


def test_nothing_but_a_name():
    """Absent and empty lists are empty."""
    assert identity_of(certificate("bob")) == Identity("bob")
    empty = bytes([SEQUENCE, 0])
    both = certificate("bob", methods=empty, groups=empty)
    assert identity_of(both) == Identity("bob")


def test_last_common_name():
    """Of several common names the last one counts, as for existing servers."""
    assert identity_of(certificate("first", "second")).user == "second"


def test_no_common_name():
    """Without a common name there is no identity."""
    with pytest.raises(CertificateError, match="no common name"):
        identity_of(certificate())


def test_empty_common_name():
    """An empty common name is none: nobody is called so."""
    nobody = Mock()
    nobody.subject.get_attributes_for_oid.return_value = [Mock(value="")]
    with pytest.raises(CertificateError, match="no common name"):
        identity_of(nobody)


def test_unreadable_subject():
    """A subject that cannot be read is no reason to crash."""
    nobody = Mock()
    nobody.subject.get_attributes_for_oid.side_effect = ValueError("bad")
    with pytest.raises(CertificateError, match="unreadable subject"):
        identity_of(nobody)


@pytest.mark.parametrize("tag", [UTF8, PRINTABLE, IA5])
def test_kinds_of_strings(tag: int):
    """UTF8String, PrintableString and IA5String are taken."""
    assert parse_string_sequence(sequence("a.b", "c.d", tag=tag)) == ["a.b", "c.d"]


def test_long_strings():
    """Lengths of several bytes are understood."""
    texts = ["x" * 127, "y" * 128, "z" * 300]
    assert parse_string_sequence(sequence(*texts)) == texts


def test_many_strings():
    """As many as anybody needs are taken, and no more."""
    most = ["a.b"] * 1_000
    assert parse_string_sequence(sequence(*most)) == most
    with pytest.raises(CertificateError, match="too long a list"):
        parse_string_sequence(sequence(*most, "a.b"))


BAD = {
    "nothing": b"",
    "a tag alone": b"\x30",
    "no sequence": der(UTF8, b"a.b"),
    "set": der(0x31, der(UTF8, b"a.b")),
    "trailing byte": sequence("a.b") + b"\0",
    "two sequences": sequence("a.b") * 2,
    "truncated": sequence("a.b")[:-1],
    "truncated inside": bytes([SEQUENCE, 4, UTF8, 3, 0x61, 0x2E]),
    "too long inside": bytes([SEQUENCE, 5, UTF8, 4, 0x61, 0x2E, 0x62]),
    "indefinite length": bytes([SEQUENCE, 0x80, UTF8, 1, 0x61, 0, 0]),
    "indefinite string": bytes([SEQUENCE, 4, 0x2C, 0x80, 0, 0]),
    "length of no bytes": bytes([SEQUENCE, 0x81]),
    "long form of a short length": bytes([SEQUENCE, 0x81, 3, UTF8, 1, 0x61]),
    "zero in front of a length": bytes([SEQUENCE, 0x82, 0, 0x80])
    + der(UTF8, b"a" * 126),
    "huge length": bytes([SEQUENCE, 0xFE]) + b"\xff" * 126,
    "number": der(SEQUENCE, bytes([2, 1, 5])),
    "octets": der(SEQUENCE, der(4, b"a.b")),
    "nested": der(SEQUENCE, sequence("a.b")),
    "not UTF-8": der(SEQUENCE, der(UTF8, b"\xff.\xff")),
    "not ASCII": der(SEQUENCE, der(IA5, "é.é".encode())),
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_malformed_lists(value: bytes):
    """Anything but the DER of a sequence of strings is refused."""
    with pytest.raises(CertificateError):
        parse_string_sequence(value)
    with pytest.raises(CertificateError):
        identity_of(certificate("x", groups=value))


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_garbage(value: bytes):
    """Whatever is there, the result is a list or a ``CertificateError``."""
    try:
        strings = parse_string_sequence(value)
    except CertificateError:
        return
    assert value[0] == SEQUENCE
    assert all(isinstance(string, str) for string in strings)


@pytest.mark.parametrize("method", ["nodot", "a.b.c", "", "..", "*"])
def test_malformed_method(method: str):
    """One method without exactly one dot makes the whole certificate useless."""
    with pytest.raises(CertificateError, match="malformed method in certificate of x"):
        identity_of(certificate("x", methods=sequence("A.B", method)))


def test_groups_need_no_dot():
    """Groups are plain names."""
    assert identity_of(certificate("x", groups=sequence("ops"))).groups == {"ops"}


def test_duplicate_extension():
    """A certificate that has an extension twice is refused (trap 14)."""
    with pytest.raises(CertificateError, match="unreadable extensions"):
        identity_of(_with_two_method_lists())


def _with_two_method_lists() -> x509.Certificate:
    """Two extensions of other names, renamed in the DER: no builder makes this."""
    other = x509.ObjectIdentifier(METHODS_OID.dotted_string[:-1] + "3")
    value = sequence("A.B")
    made = authority().sign(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]),
        KEY.public_key(),
        YEAR,
        [
            (x509.UnrecognizedExtension(METHODS_OID, value), False),
            (x509.UnrecognizedExtension(other, value), False),
        ],
    )
    encoded = made.public_bytes(Encoding.DER)
    tail = bytes.fromhex("2b06010401ca726407")
    assert encoded.count(tail) == 2
    return x509.load_der_x509_certificate(
        encoded.replace(tail + b"\x03", tail + b"\x01")
    )


def test_unreadable_other_extension():
    """Another extension that cannot be read is no reason to crash."""
    broken = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("2.5.29.17"), der(SEQUENCE, der(0xA3, b"x"))
    )
    made = authority().sign(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]),
        KEY.public_key(),
        YEAR,
        [(broken, False)],
    )
    with pytest.raises(CertificateError, match="unreadable extensions"):
        identity_of(made)
