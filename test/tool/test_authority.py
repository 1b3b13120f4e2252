"""Certificates made in memory."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x448
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from imageserver.errors import CertificateError
from imageserver.srpc.certificate import (
    GROUPS_OID,
    METHODS_OID,
    identity_of,
    parse_string_sequence,
)
from imageserver.tool.authority import Authority, Pair, Validity
from imageserver.tool.description import describe_certificates
from imageserver.tool.extensions import string_sequence
from imageserver.tool.private_key import KEY_TYPES, key_pem, key_type_of, load_key

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=datetime.UTC)
YEAR = Validity.of_days(365)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> Authority:
    """A root that all tests share."""
    return Authority.create("root", YEAR)


def leaf_of(pair: Pair) -> x509.Certificate:
    """The lowest certificate of a pair."""
    return x509.load_pem_x509_certificates(pair.certificate)[0]


def raw_extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    """The value of one of our extensions, in hexadecimal."""
    extension = certificate.extensions.get_extension_for_oid(oid)
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert not extension.critical
    return extension.value.value.hex(" ")


def verify(pair: Pair, *trusted: Authority) -> None:
    """Let OpenSSL verify the leaf of a pair with the chain that it comes with."""
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    for authority in trusted:
        store.add_cert(crypto.X509.from_cryptography(authority.certificate))
    leaf, *chain = (
        crypto.X509.from_cryptography(certificate)
        for certificate in x509.load_pem_x509_certificates(pair.certificate)
    )
    crypto.X509StoreContext(store, leaf, chain).verify_certificate()


@pytest.mark.parametrize(
    ("strings", "encoded"),
    [
        ([], "30 00"),
        (["*.*"], "30 05 0c 03 2a 2e 2a"),
        (["ops", "dev"], "30 0a 0c 03 6f 70 73 0c 03 64 65 76"),
        (["\u00e4"], "30 04 0c 02 c3 a4"),
        (["x" * 125], "30 7f 0c 7d" + " 78" * 125),
        (["x" * 127], "30 81 81 0c 7f" + " 78" * 127),
        (["x" * 128], "30 81 83 0c 81 80" + " 78" * 128),
        (["x" * 256], "30 82 01 04 0c 82 01 00" + " 78" * 256),
        (["x" * 65_536], "30 83 01 00 05 0c 83 01 00 00" + " 78" * 65_536),
    ],
    ids=range(9),
)
def test_string_sequence(strings, encoded) -> None:
    """The encoding is DER: short lengths in one byte, long ones in as few as do."""
    assert string_sequence(strings).hex(" ") == encoded
    assert parse_string_sequence(string_sequence(strings)) == strings


def test_methods_and_groups(root) -> None:
    """Methods and groups stand in their extensions in the order given, once each."""
    pair = root.issue("bob", YEAR, methods=["*.*", "*.*"], groups=["ops", "dev"])
    leaf = leaf_of(pair)
    assert raw_extension(leaf, METHODS_OID) == "30 05 0c 03 2a 2e 2a"
    assert raw_extension(leaf, GROUPS_OID) == "30 0a 0c 03 6f 70 73 0c 03 64 65 76"
    identity = identity_of(leaf)
    assert (identity.user, identity.methods) == ("bob", ("*.*",))
    assert identity.groups == {"ops", "dev"}


def test_many_methods(root) -> None:
    """A list may be longer than a DER length of one byte can say."""
    methods = [f"Service{number}.Method" for number in range(100)]
    leaf = leaf_of(root.issue("bob", YEAR, methods=methods))
    assert identity_of(leaf).methods == tuple(methods)


def test_no_lists(root) -> None:
    """Without methods and groups there are no such extensions."""
    oids = {extension.oid for extension in leaf_of(root.issue("bob", YEAR)).extensions}
    assert not oids & {METHODS_OID, GROUPS_OID}


@pytest.mark.parametrize(
    "method", ["", ".", "A", "A.", ".B", "A.B.C", "*", "A. B", "A.B\n", "A.\udcff"]
)
def test_bad_method(root, method) -> None:
    """A method that would make the certificate unusable is refused."""
    with pytest.raises(CertificateError):
        root.issue("bob", YEAR, methods=["A.B", method])


@pytest.mark.parametrize("group", ["", " ", "a b", "a\0", "\udcff"])
def test_bad_group(root, group) -> None:
    """A group that nobody could mean is refused."""
    with pytest.raises(CertificateError):
        root.issue("bob", YEAR, groups=[group])


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "\udcff"])
def test_bad_name(root, name) -> None:
    """Nobody is called nothing, or more than fits."""
    for make in (root.issue, root.intermediate, Authority.create):
        with pytest.raises(CertificateError):
            make(name, YEAR)


@pytest.mark.parametrize(
    "host", ["", "a b", "-a", "a/b", "a..b", "a.", "\u00e4", "x" * 64, "x." * 127]
)
def test_bad_host(root, host) -> None:
    """What is neither a name nor an address is refused."""
    with pytest.raises(CertificateError):
        root.issue("server", YEAR, hosts=[host])


def test_user_extensions(root) -> None:
    """A user's certificate is for clients and signs nothing."""
    extensions = leaf_of(root.issue("bob", YEAR)).extensions
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    key_usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert key_usage.digital_signature
    assert not key_usage.key_cert_sign
    assert not key_usage.key_encipherment
    with pytest.raises(x509.ExtensionNotFound):
        extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_server_extensions(root) -> None:
    """A server's certificate names its hosts, and is good for a client as well."""
    pair = root.issue(
        "server", YEAR, hosts=["localhost", "*.a-b.c", "127.0.0.1", "::1"]
    )
    extensions = leaf_of(pair).extensions
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ]
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "*.a-b.c"]
    addresses = names.get_values_for_type(x509.IPAddress)
    assert list(map(str, addresses)) == ["127.0.0.1", "::1"]
    verify(pair, root)


def test_authority_extensions(root) -> None:
    """A CA's certificate says that it is one, and signs certificates and lists."""
    extensions = root.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature


def test_key_identifiers(root) -> None:
    """A certificate names its own key and that of its issuer."""
    leaf = leaf_of(root.issue("bob", YEAR))
    identifiers = [
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        for certificate in (root.certificate, leaf)
    ]
    above = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert above.key_identifier == identifiers[0].digest
    assert identifiers[0] != identifiers[1]


def test_foreign_authority() -> None:
    """The issuer's key is called what a CA that others made calls it, if anything."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "foreign")])
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(YEAR.not_before)
        .not_valid_after(YEAR.not_after)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
    )
    named = builder.add_extension(x509.SubjectKeyIdentifier(b"own way"), False)
    for made, expected in ((named, b"own way"), (builder, None)):
        certificate = made.sign(key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        pair = Authority.load(pem, key_pem(key)).issue("bob", YEAR)
        above = leaf_of(pair).extensions.get_extension_for_class(
            x509.AuthorityKeyIdentifier
        )
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
        assert above.value.key_identifier == (expected or own)


def test_serial_numbers(root) -> None:
    """No two certificates have the same number."""
    numbers = {leaf_of(root.issue("bob", YEAR)).serial_number for _ in range(20)}
    assert len(numbers) == 20
    assert min(numbers) > 2**64


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_key_types(key_type) -> None:
    """All types of keys make chains that OpenSSL verifies, and pairs that it takes."""
    authority = Authority.create("root", YEAR, key_type)
    below = authority.intermediate("below", YEAR, key_type)
    pair = below.issue("bob", YEAR, key_type=key_type)
    verify(pair, authority)
    assert key_type_of(load_key(pair.key)).lower().startswith(key_type)
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(leaf_of(pair))
    context.use_privatekey(load_key(pair.key))
    context.check_privatekey()
    usage = leaf_of(pair).extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_encipherment == (key_type == "rsa")


def test_unknown_key_type(root) -> None:
    """There are no other types of keys."""
    with pytest.raises(CertificateError):
        root.issue("bob", YEAR, key_type="dsa")


def test_intermediates(root) -> None:
    """A pair comes with all authorities above it but the root."""
    upper = root.intermediate("upper", YEAR)
    lower = upper.intermediate("lower", YEAR)
    pair = lower.issue("bob", YEAR)
    names = [
        certificate.subject.rfc4514_string()
        for certificate in x509.load_pem_x509_certificates(pair.certificate)
    ]
    assert names == ["CN=bob", "CN=lower", "CN=upper"]
    verify(pair, root)
    with pytest.raises(crypto.X509StoreContextError):
        verify(pair, Authority.create("root", YEAR))


def test_same_name(root) -> None:
    """An intermediate may bear the name of another CA: it is not that CA."""
    other = Authority.create("other", YEAR)
    impostor = root.intermediate("other", YEAR)
    with pytest.raises(crypto.X509StoreContextError):
        verify(Pair(*impostor.issue("bob", YEAR)), other)


def test_validity() -> None:
    """A certificate is valid from a little before it was made."""
    validity = Validity.of_days(2, NOW)
    whole = NOW.replace(microsecond=0)
    assert validity.not_before == whole - datetime.timedelta(minutes=5)
    assert validity.not_after == whole + 2 * DAY
    leaf = leaf_of(Authority.create("root", validity).issue("bob", validity))
    assert leaf.not_valid_before_utc == validity.not_before
    assert leaf.not_valid_after_utc == validity.not_after


def test_expired(root) -> None:
    """A certificate that has expired already can be made, for tests."""
    validity = Validity.of_days(-1)
    assert validity.not_before < validity.not_after < YEAR.not_before
    with pytest.raises(crypto.X509StoreContextError, match="expired"):
        verify(root.issue("bob", validity), root)


def test_not_yet_valid(root) -> None:
    """So can one that is not valid yet."""
    validity = Validity(YEAR.not_after - 2 * DAY, YEAR.not_after - DAY)
    with pytest.raises(crypto.X509StoreContextError, match="not yet valid"):
        verify(root.issue("bob", validity), root)


def test_not_beyond_authority(root) -> None:
    """A certificate ends with that of its CA at the latest."""
    leaf = leaf_of(root.issue("bob", Validity.of_days(3650)))
    assert leaf.not_valid_after_utc == root.certificate.not_valid_after_utc
    with pytest.raises(CertificateError, match="expires"):
        root.issue("bob", Validity(YEAR.not_after, YEAR.not_after + DAY))


def test_load(root) -> None:
    """An authority is found among others by its key, with those above it."""
    upper = root.intermediate("upper", YEAR)
    lower = upper.intermediate("lower", YEAR)
    again = Authority.load(*root.pair)
    assert (again.certificate, again.chain) == (root.certificate, ())
    parts = [root.pair, Authority.create("upper", YEAR).pair, lower.pair]
    pem = b"".join(part.certificate for part in parts)
    again = Authority.load(pem, lower.pair.key)
    assert again.chain == lower.chain
    assert again.pair == lower.pair
    verify(again.issue("bob", YEAR), root)


def test_load_without_those_above(root) -> None:
    """An authority whose issuer is not there works with what there is."""
    lower = root.intermediate("lower", YEAR)
    assert Authority.load(*lower.pair).chain == (lower.certificate,)


def test_load_refused(root) -> None:
    """Files that are no authority are refused, each for its own reason."""
    other = Authority.create("other", YEAR)
    leaf = root.issue("bob", YEAR)
    key = load_key(root.pair.key)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    strange = x448.X448PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    cases = [
        (root.pair.certificate, other.pair.key, "belongs to none"),
        (b"", root.pair.key, "not PEM certificates"),
        (root.pair.certificate, b"", "not a PEM key"),
        (root.pair.certificate, encrypted, "encrypted"),
        (root.pair.certificate, strange, "neither"),
        (leaf.certificate, leaf.key, "not that of a CA"),
    ]
    for certificates, pem, message in cases:
        with pytest.raises(CertificateError, match=message):
            Authority.load(certificates, pem)


def test_load_plain_certificate(root) -> None:
    """A certificate that does not say what it is for is not that of a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = root.sign(root.certificate.subject, key.public_key(), YEAR, [])
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CertificateError, match="not that of a CA"):
        Authority.load(pem, key_pem(key))


def test_sign_anything(root) -> None:
    """A malformed certificate can be made, for tests of those who read them."""
    key = ec.generate_private_key(ec.SECP256R1())
    value = x509.UnrecognizedExtension(METHODS_OID, b"\x30\x03\x0c\x01A")
    certificate = root.sign(x509.Name([]), key.public_key(), YEAR, [(value, False)])
    assert raw_extension(certificate, METHODS_OID) == "30 03 0c 01 41"
    with pytest.raises(CertificateError):
        identity_of(certificate)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    assert "unusable:" in describe_certificates(pem)


def test_key_is_not_shown(root) -> None:
    """The key does not get into logs by accident."""
    assert "key" not in repr(root)


def test_unknown_key() -> None:
    """A key of another type has no word of its own."""
    assert key_type_of(SimpleNamespace()) == "unknown"


def test_describe_duplicate(root) -> None:
    """A certificate with an extension twice is called malformed."""
    leaf = leaf_of(root.issue("bob", YEAR, methods=["A.B"], groups=["ops"]))
    der = leaf.public_bytes(serialization.Encoding.DER)
    # The object identifiers differ in the last byte only.
    assert der.count(b"\x64\x07\x02\x04") == 1
    twice = der.replace(b"\x64\x07\x02\x04", b"\x64\x07\x01\x04")
    pem = x509.load_der_x509_certificate(twice).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CertificateError, match="malformed"):
        describe_certificates(pem)


def test_describe_unprintable(root) -> None:
    """A name cannot move the cursor of the terminal."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\x1b[2J")])
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = root.sign(name, key.public_key(), YEAR, [])
    text = describe_certificates(certificate.public_bytes(serialization.Encoding.PEM))
    assert "\x1b" not in text
