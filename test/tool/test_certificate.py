"""The command ``imageserver-cert``."""

from __future__ import annotations

import datetime
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from imageserver.srpc.certificate import GROUPS_OID, METHODS_OID, identity_of
from imageserver.srpc.revocation import parse_lists
from imageserver.srpc.tls import KeyPair
from imageserver.srpc.trust import Trust
from imageserver.tool.authority import REPLICA_METHODS, Authority, Validity
from imageserver.tool.certificate import main
from imageserver.tool.private_key import key_type_of, load_key
from imageserver.tool.revocation_list import extend_list


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a CA."""
    assert main(["ca", "-directory", str(tmp_path), "-name", "test CA"]) == 0
    return tmp_path


@pytest.fixture
def cert(directory: Path):
    """The command, run with that directory."""

    def run(*argv: str) -> int:
        return main(["-directory", str(directory), *argv])

    return run


def load(path: Path) -> x509.Certificate:
    """The certificate in a file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def mode(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def tree(directory: Path) -> dict[str, bytes]:
    """All files below a directory, hidden ones too, and empty directories."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else b""
        for path in directory.rglob("*")
    }


def test_ca(directory) -> None:
    """A CA is a certificate for all to read and a key for nobody else."""
    assert tree(directory).keys() == {"CA.pem", "CA.key"}
    certificate = load(directory / "CA.pem")
    assert certificate.subject.rfc4514_string() == "CN=test CA"
    lifetime = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert 3649 <= lifetime.days <= 3650
    assert mode(directory / "CA.pem") == 0o644
    assert mode(directory / "CA.key") == 0o600
    Authority.load(
        (directory / "CA.pem").read_bytes(), (directory / "CA.key").read_bytes()
    )


@pytest.mark.parametrize(
    ("argv", "methods", "groups", "serves"),
    [
        (["server"], (), set(), True),
        (["replica"], REPLICA_METHODS, set(), True),
        (["admin"], ("*.*",), set(), False),
        (["admin", "-groups=ops"], ("*.*",), {"ops"}, False),
        (["user"], (), set(), False),
        (["user", "-methods", "A.B,C.*"], ("A.B", "C.*"), set(), False),
        (["user", "-groups", "ops,dev"], (), {"ops", "dev"}, False),
    ],
)
def test_issue(cert, directory, argv, methods, groups, serves) -> None:
    """Each command gives its holder the methods and groups that it should, no more."""
    assert cert(*argv, "bob") == 0
    assert tree(directory).keys() == {
        "CA.pem",
        "CA.key",
        "bob",
        "bob/cert.pem",
        "bob/key.pem",
    }
    certificate = load(directory / "bob" / "cert.pem")
    identity = identity_of(certificate)
    assert identity.user == "bob"
    assert identity.methods == methods
    assert identity.groups == groups
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CLIENT_AUTH in usage
    assert (ExtendedKeyUsageOID.SERVER_AUTH in usage) == serves


def test_replica_methods(cert, directory) -> None:
    """A replica has exactly the methods that following a master takes."""
    assert cert("replica", "imageserver") == 0
    certificate = load(directory / "imageserver" / "cert.pem")
    assert sorted(identity_of(certificate).methods) == [
        "ImageServer.AddImageTrusted",
        "ImageServer.GetFilteredImageUpdates",
        "ImageServer.GetImage",
        "ImageServer.GetImageUpdates",
        "ObjectServer.AddObjects",
        "ObjectServer.CheckObjects",
        "ObjectServer.GetObjects",
    ]


@pytest.mark.parametrize(
    ("argv", "oid", "value"),
    [
        (["admin"], METHODS_OID, "30 05 0c 03 2a 2e 2a"),
        (
            ["user", "-groups=ops,dev"],
            GROUPS_OID,
            "30 0a 0c 03 6f 70 73 0c 03 64 65 76",
        ),
    ],
)
def test_extension_bytes(cert, directory, argv, oid, value) -> None:
    """The extensions are those that other implementations read, byte for byte."""
    assert cert(*argv, "bob") == 0
    extension = load(directory / "bob" / "cert.pem").extensions.get_extension_for_oid(
        oid
    )
    assert not extension.critical
    assert extension.value.value.hex(" ") == value


def test_verified(cert, directory) -> None:
    """OpenSSL takes what is issued, and the key with its certificate."""
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    store.add_cert(crypto.X509.from_cryptography(load(directory / "CA.pem")))
    for command in ("server", "replica", "admin", "user"):
        assert cert(command, command) == 0
        pair = KeyPair.load(
            directory / command / "cert.pem", directory / command / "key.pem"
        )
        leaf = crypto.X509.from_cryptography(pair.certificates[0])
        crypto.X509StoreContext(store, leaf).verify_certificate()


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_openssl_command(cert, directory) -> None:
    """The openssl command finds each certificate fit for its purpose."""
    assert cert("server", "one") == 0
    assert cert("admin", "two") == 0
    for purpose, name in (
        ("sslserver", "one"),
        ("sslclient", "one"),
        ("sslclient", "two"),
    ):
        authority = ["-CAfile", str(directory / "CA.pem")]
        path = str(directory / name / "cert.pem")
        check = ["openssl", "verify", "-x509_strict", "-purpose", purpose]
        subprocess.run([*check, *authority, path], check=True, capture_output=True)


def test_hosts(cert, directory) -> None:
    """A server is found under the names and addresses given."""
    assert cert("server", "one") == 0
    assert cert("server", "-hosts=a.example,10.0.0.1", "two") == 0
    for name, host, address in (
        ("one", "localhost", "127.0.0.1"),
        ("two", "a.example", "10.0.0.1"),
    ):
        names = (
            load(directory / name / "cert.pem")
            .extensions.get_extension_for_class(x509.SubjectAlternativeName)
            .value
        )
        assert names.get_values_for_type(x509.DNSName) == [host]
        assert list(map(str, names.get_values_for_type(x509.IPAddress))) == [address]


def test_days(cert, directory, capsys) -> None:
    """A certificate is valid as long as is said, and the end is told."""
    assert cert("user", "-days=7", "bob") == 0
    end = load(directory / "bob" / "cert.pem").not_valid_after_utc
    assert 6 <= (end - datetime.datetime.now(datetime.UTC)).days <= 7
    assert f"valid until {end:%Y-%m-%d}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key_type", "word"), [("ecdsa", "ECDSA secp256r1"), ("ed25519", "Ed25519")]
)
def test_key_type(cert, directory, key_type, word) -> None:
    """The key is of the type that is asked for."""
    assert cert("user", "bob", "-keyType", key_type) == 0
    assert key_type_of(load_key((directory / "bob" / "key.pem").read_bytes())) == word


def test_flags_anywhere(cert, directory) -> None:
    """Flags may stand before, between and after the words."""
    assert cert("-groups=a", "user", "-methods=A.B", "bob", "-keyType", "ed25519") == 0
    identity = identity_of(load(directory / "bob" / "cert.pem"))
    assert (identity.methods, identity.groups) == (("A.B",), {"a"})


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes(cert, directory, mask) -> None:
    """Nobody else can read a key or look into its directory, whatever the umask."""
    before = os.umask(mask)
    try:
        assert cert("user", "bob") == 0
    finally:
        os.umask(before)
    assert mode(directory / "bob") == 0o700
    assert mode(directory / "bob" / "cert.pem") == 0o644
    assert mode(directory / "bob" / "key.pem") == 0o600


def test_key_is_never_readable(cert, monkeypatch) -> None:
    """The key's file is made new, with its final mode, before anything is in it."""
    opened = []
    real_open = os.open

    def watch(path, flags, mode=0o777, **more):
        if flags & os.O_CREAT:
            opened.append((flags & os.O_EXCL != 0, mode))
        return real_open(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", watch)
    before = os.umask(0)
    try:
        assert cert("user", "bob") == 0
    finally:
        os.umask(before)
    assert opened == [(True, 0o600)] * 2


def test_directories_are_made(tmp_path) -> None:
    """Directories on the way are made, for the owner only."""
    assert main(["ca", "-directory", str(tmp_path / "a" / "b")]) == 0
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


def test_no_overwrite(cert, directory, capsys) -> None:
    """Files that are there stay as they are, unless the user insists."""
    assert cert("user", "bob") == 0
    before = tree(directory)
    assert cert("admin", "bob") == 1
    assert "-force" in capsys.readouterr().err
    assert cert("ca") == 1
    assert tree(directory) == before
    assert cert("admin", "-force", "bob") == 0
    assert tree(directory).keys() == before.keys()
    assert identity_of(load(directory / "bob" / "cert.pem")).methods == ("*.*",)
    assert mode(directory / "bob" / "key.pem") == 0o600


@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
def test_half_a_pair(cert, directory, name) -> None:
    """One file of the two is enough to refuse, be it a link to nowhere."""
    (directory / "bob").mkdir()
    (directory / "bob" / name).symlink_to("nowhere")
    before = tree(directory)
    assert cert("user", "bob") == 1
    assert tree(directory) == before


def test_file_that_has_just_come_up(cert, directory, monkeypatch) -> None:
    """A file that another process makes meanwhile is not replaced either."""
    real_link = os.link

    def link(source, target, **more):
        if Path(target).name == "cert.pem":
            Path(target).write_text("theirs")
        real_link(source, target, **more)

    monkeypatch.setattr(os, "link", link)
    assert cert("user", "bob") == 1
    assert tree(directory / "bob") == {"cert.pem": b"theirs"}


@pytest.mark.parametrize("call", ["fsync", "fchmod", "link", "mkdir"])
@pytest.mark.parametrize("failing", range(1, 7))
def test_failure_leaves_nothing(
    cert, directory, monkeypatch, capsys, call, failing
) -> None:
    """Whatever fails, there is either a pair or nothing, and no temporary file."""
    before = tree(directory)
    calls = _fail(monkeypatch, call, failing)
    code = cert("user", "bob")
    if len(calls) < failing:
        assert code == 0
        return
    assert code == 1
    assert "No space left on device" in capsys.readouterr().err
    assert tree(directory) == before


@pytest.mark.parametrize("call", ["fsync", "fchmod", "link", "replace"])
@pytest.mark.parametrize("failing", range(1, 7))
def test_failure_restores(cert, directory, monkeypatch, call, failing) -> None:
    """If a pair cannot be replaced as a whole, the old one comes back."""
    assert cert("user", "bob") == 0
    before = tree(directory)
    calls = _fail(monkeypatch, call, failing)
    code = cert("admin", "-force", "bob")
    if len(calls) < failing:
        assert code == 0
        return
    assert code == 1
    assert tree(directory) == before


def _fail(monkeypatch, name: str, failing: int) -> list[int]:
    """Make one call of a function of the system fail, and list the calls."""
    calls: list[int] = []
    real = getattr(os, name)

    def call(*args, **more):
        calls.append(len(calls))
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        return real(*args, **more)

    monkeypatch.setattr(os, name, call)
    return calls


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no command"),
        (["sign"], "unknown command: sign"),
        (["user"], "wrong number of arguments for user"),
        (["user", "a", "b"], "wrong number of arguments for user"),
        (["ca", "a"], "wrong number of arguments for ca"),
        (["show"], "wrong number of arguments for show"),
        (["admin", "bob", "-methods=A.B"], "admin does not take the flag -methods"),
        (["server", "bob", "-groups=a"], "server does not take the flag -groups"),
        (["user", "bob", "-hosts=a"], "user does not take the flag -hosts"),
        (["user", "bob", "-unknown"], "flag provided but not defined: -unknown"),
        (["user", "bob", "-days=x"], 'invalid value "x" for flag -days: parse error'),
        (["user", "bob", "-days=36501"], "more than 36500 days"),
        (["user", "bob", "-keyType=dsa"], "unknown type of key: dsa"),
        (["user", ""], "not a name"),
        (["user", ".."], "not a name"),
        (["user", ".bob"], "not a name"),
        (["user", "a/b"], "not a name"),
        (["user", "--", "-bob"], "not a name"),
        (["user", "a b"], "not a name"),
        (["user", "bob\n"], "not a name"),
        (["user", "b\u00f6b"], "not a name"),
        (["user", "x" * 65], "not a name"),
        (["user", "CA.pem"], "not a name"),
        (["user", "CA.key"], "not a name"),
    ],
)
def test_usage_error(cert, directory, capsys, argv, message) -> None:
    """Wrong arguments are told with the usage on stderr; nothing is written."""
    before = tree(directory)
    assert cert(*argv) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert "Usage: imageserver-cert" in output.err
    assert tree(directory) == before


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["user", "bob", "-methods=AB"], "not of the form Service.Method: 'AB'"),
        (["user", "bob", "-methods=A.B,"], "not of the form Service.Method: ''"),
        (["user", "bob", "-groups=a b"], "'a b'"),
        (["server", "bob", "-hosts=a b"], "neither a host name nor an address: 'a b'"),
        (["ca", "-force", "-name="], "not a name of 1 to 64 letters"),
    ],
)
def test_error(cert, directory, capsys, argv, message) -> None:
    """What cannot be done is told on stderr, without usage; nothing is written."""
    before = tree(directory)
    assert cert(*argv) == 1
    output = capsys.readouterr()
    assert message in output.err
    assert "Usage" not in output.err
    assert "Traceback" not in output.err
    assert tree(directory) == before


def test_show_missing_file(tmp_path, capsys) -> None:
    """A file that is not there is named."""
    path = tmp_path / "missing"
    assert main(["show", str(path)]) == 1
    assert f"{path}: No such file or directory" in capsys.readouterr().err


def test_no_authority(tmp_path, capsys) -> None:
    """Who has no CA is told how to make one."""
    assert main(["user", "-directory", str(tmp_path), "bob"]) == 1
    assert "imageserver-cert ca" in capsys.readouterr().err


def test_damaged_authority(cert, directory, capsys) -> None:
    """A CA whose files do not belong together is of no use."""
    other = Authority.create("other", Validity.of_days(1))
    (directory / "CA.key").write_bytes(other.pair.key)
    assert cert("user", "bob") == 1
    assert "belongs to none of the certificates" in capsys.readouterr().err


def test_expired_authority(cert, directory, capsys) -> None:
    """Neither is one that has expired, even if only just."""
    now = datetime.datetime.now(datetime.UTC)
    second = datetime.timedelta(seconds=1)
    authority = Authority.create("old", Validity(now - 9 * second, now - second))
    (directory / "CA.pem").write_bytes(authority.pair.certificate)
    (directory / "CA.key").write_bytes(authority.pair.key)
    assert cert("user", "bob") == 1
    assert "has expired" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["-h"], ["--help"], ["user", "-help"]])
def test_help(capsys, argv) -> None:
    """The usage text names all commands and fits a terminal."""
    assert main(argv) == 0
    output = capsys.readouterr()
    assert not output.err
    for word in ("ca ", "server NAME", "replica", "admin", "user", "show FILE"):
        assert word in output.out
    assert max(map(len, output.out.splitlines())) <= 79


def test_show(cert, directory, capsys) -> None:
    """What is in a certificate is told in words."""
    assert cert("user", "bob", "-methods=A.B,C.*", "-groups=ops,dev") == 0
    assert cert("server", "one", "-hosts=a.example,::1") == 0
    capsys.readouterr()
    assert main(["show", str(directory / "bob" / "cert.pem")]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = dict(line.split(":", 1) for line in lines)
    facts = {name: fact.strip() for name, fact in facts.items()}
    certificate = load(directory / "bob" / "cert.pem")
    assert facts["name"] == "bob"
    assert facts["methods"] == "A.B, C.*"
    assert facts["groups"] == "dev, ops"
    assert facts["hosts"] == "none"
    assert facts["used by"] == "client"
    assert facts["key"] == "ECDSA secp256r1"
    assert facts["issuer"] == "CN=test CA"
    end = certificate.not_valid_after_utc
    assert facts["valid until"] == f"{end:%Y-%m-%d %H:%M:%S} UTC"
    assert len(facts["SHA-256"].split(":")) == 32
    assert main(["show", str(directory / "one" / "cert.pem")]) == 0
    text = capsys.readouterr().out
    assert "a.example, ::1" in text
    assert "server, client" in text


def test_show_several(cert, directory, capsys) -> None:
    """Every certificate of a file is told."""
    assert cert("user", "bob") == 0
    path = directory / "chain.pem"
    leaf = (directory / "bob" / "cert.pem").read_bytes()
    path.write_bytes(leaf + (directory / "CA.pem").read_bytes())
    capsys.readouterr()
    assert main(["show", str(path)]) == 0
    leaf_text, ca_text = capsys.readouterr().out.split("\n\n")
    assert "bob" in leaf_text
    assert "test CA" in ca_text


def test_show_key(directory, capsys) -> None:
    """A file without certificates is named in the error, its contents are not."""
    assert main(["show", str(directory / "CA.key")]) == 1
    assert capsys.readouterr().err.endswith("CA.key: not PEM certificates\n")


def test_process(directory, monkeypatch, capsys) -> None:
    """Without arguments of its own the command takes those of the process."""
    monkeypatch.setattr(
        sys, "argv", ["imageserver-cert", "show", str(directory / "CA.pem")]
    )
    assert main() == 0
    assert "test CA" in capsys.readouterr().out


def revoked(directory: Path, name: str = "CRL.pem") -> set[int]:
    """The serial numbers on a list."""
    (found,) = parse_lists((directory / name).read_bytes())
    assert found.is_of(load((directory / name).parent / "CA.pem"))
    return set(found.serials)


def test_revoke(cert, directory, capsys) -> None:
    """A list is made, extended by name, file and number, and renewed."""
    serials = []
    for name in ("alice", "bob"):
        assert cert("user", name) == 0
        serials.append(load(directory / name / "cert.pem").serial_number)
    assert cert("revoke") == 0
    assert revoked(directory) == set()
    assert cert("revoke", "alice") == 0
    assert f"revoked {serials[0]:x}\n" in capsys.readouterr().out
    assert cert("revoke", str(directory / "bob" / "cert.pem")) == 0
    assert cert("revoke", "-serial=0Ab12", "-days=3") == 0
    assert revoked(directory) == {*serials, 0xAB12}
    assert cert("revoke", "alice") == 0
    assert revoked(directory) == {*serials, 0xAB12}
    signed = x509.load_pem_x509_crl((directory / "CRL.pem").read_bytes())
    assert signed.extensions.get_extension_for_class(x509.CRLNumber).value == (
        x509.CRLNumber(5)
    )
    assert mode(directory / "CRL.pem") == 0o644


@pytest.mark.parametrize("key_type", ["rsa", "ed25519"])
def test_revoke_by_other_keys(tmp_path, key_type) -> None:
    """A CA with any kind of key can revoke."""
    flags = ["-directory", str(tmp_path), f"-keyType={key_type}"]
    assert main(["ca", *flags]) == 0
    assert main(["user", "alice", *flags]) == 0
    assert main(["revoke", "alice", *flags[:2]]) == 0
    assert len(revoked(tmp_path)) == 1


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["revoke", "nobody"], 1, "nobody is there"),
        (["revoke", "stranger"], 1, "not a certificate of this CA"),
        (["revoke", "CA.key"], 1, "is there"),
        (["revoke", "-serial=x"], 2, "not a serial number"),
        (["revoke", "-serial=0"], 2, "not a serial number"),
        (["revoke", "a", "b"], 2, "wrong number of arguments"),
        (["revoke", "-force"], 2, "does not take the flag -force"),
        (["intermediate"], 2, "wrong number of arguments"),
        (["intermediate", "CRL.pem"], 2, "not a name"),
    ],
)
def test_revoke_mistakes(cert, directory, capsys, argv, code, text) -> None:
    """What cannot be is refused with a reason, and leaves no list."""
    stranger = Authority.create("test CA", Validity.of_days(1)).issue(
        "x", Validity.of_days(1)
    )
    (directory / "stranger").mkdir()
    (directory / "stranger" / "cert.pem").write_bytes(stranger.certificate)
    assert cert(*argv) == code
    assert text in capsys.readouterr().err
    assert not (directory / "CRL.pem").exists()


def test_list_of_another(cert, directory, capsys) -> None:
    """A list that is not this CA's, or none at all, is left alone."""
    day = Validity.of_days(1)
    foreign = extend_list(Authority.create("other", day), b"", [1], day)
    for content in (b"nonsense", foreign):
        (directory / "CRL.pem").write_bytes(content)
        assert cert("revoke") == 1
        assert "CRL.pem: " in capsys.readouterr().err
        assert (directory / "CRL.pem").read_bytes() == content


def test_intermediate(cert, directory) -> None:
    """An intermediate issues certificates with their chain, and revokes them."""
    assert cert("intermediate", "middle") == 0
    below = str(directory / "middle")
    assert mode(directory / "middle" / "CA.key") == 0o600
    assert main(["user", "alice", "-directory", below]) == 0
    pem = (directory / "middle" / "alice" / "cert.pem").read_bytes()
    sent = x509.load_pem_x509_certificates(pem)
    assert len(sent) == 2
    trust = Trust([load(directory / "CA.pem")])
    assert trust.identify(sent, datetime.datetime.now(datetime.UTC)).user == "alice"
    assert main(["revoke", "alice", "-directory", below]) == 0
    assert revoked(directory / "middle") == {sent[0].serial_number}
    assert cert("revoke", f"{below}/CA.pem") == 0
    assert revoked(directory) == {sent[1].serial_number}
