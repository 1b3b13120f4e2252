"""The daemon's flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from imageserver import config
from imageserver.errors import CertificateError, ConfigError, RequestError
from imageserver.flags import HelpRequested, UsageError

ROOT, SOMEBODY = 0, 1000


def settings(directory: Path, *flags: str) -> config.Settings:
    """Settings whose directories exist."""
    both = (f"-imageDir={directory}", f"-objectDir={directory}")
    return config.parse([*both, *flags])


def test_defaults() -> None:
    """Names and defaults are those that operators know."""
    found = config.parse([])
    assert found.port_num == 6971
    assert found.image_dir == "/var/lib/imageserver"
    assert found.object_dir == "/var/lib/objectserver"
    assert found.ca_file == "/etc/ssl/CA.pem"
    assert found.cert_file == "/etc/ssl/imageserver/cert.pem"
    assert not found.permit_insecure_mode


def test_flags_files(tmp_path: Path) -> None:
    """Files are read in their order, and the command line has the last word."""
    default, extra = tmp_path / "flags.default", tmp_path / "flags.extra"
    files = (default, tmp_path / "missing", extra)
    default.write_text("# ours\nportNum = 1\nimageDir=/a=b \npermitRoot=true\n")
    extra.write_text("; theirs\n\nportNum=2\nmaxMethodLine=1KiB")
    found = config.parse(["-maxMethodLine=2KiB"], files)
    assert (found.port_num, found.image_dir, found.permit_root) == (2, "/a=b", True)
    assert found.flag_values["maxMethodLine"] == "2KiB"
    assert found.flag_values["scrubRate"] == "10MiB"
    for text, error in (
        ("portNum", "bad line, cannot split name from value: portNum"),
        ("port num=1", "bad line, name has whitespace: port num=1"),
        ("nonsense=1", "no such flag -nonsense"),
        ("portNum=70000", 'invalid value "70000" for flag -portNum: at most 65535'),
        ("permitRoot=", 'invalid boolean value "" for -permitRoot: parse error'),
    ):
        extra.write_text(f"{text}\nversion=true\n")
        with pytest.raises(ConfigError) as caught:
            config.parse([], files)
        assert str(caught.value) == f"{extra}: {error}"
        assert not isinstance(caught.value, UsageError)
        with pytest.raises(HelpRequested):
            config.parse(["-h"], files)
    extra.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.parse([], files)
    with pytest.raises(ConfigError, match="cannot read"):
        config.parse([], [tmp_path])


def test_flags_without_effect(tmp_path: Path) -> None:
    """What means nothing here is accepted, and named where it was set."""
    file = tmp_path / "flags.default"
    file.write_text("lockLogTimeout=1s\n")
    assert config.parse([], []).unused == ()
    found = config.parse(["-debug", "-srpcTrustVmOwners=false"], [file])
    assert found.unused == ("debug", "lockLogTimeout", "srpcTrustVmOwners")


@pytest.mark.parametrize("argv", [["word"], ["-portNum=65536"], ["-portNum=x"], ["-x"]])
def test_mistakes(argv: list[str]) -> None:
    """Whatever is not understood is refused, also words behind the flags."""
    with pytest.raises(UsageError):
        config.parse(argv)


def test_root(tmp_path: Path) -> None:
    """Root needs a user to become, or permission; nobody else can become anybody."""
    with pytest.raises(ConfigError, match="Do not run the Image Server as root"):
        config.check(settings(tmp_path), ROOT)
    config.check(settings(tmp_path, "-permitRoot"), ROOT)
    config.check(settings(tmp_path, "-username=imageserver"), ROOT)
    config.check(settings(tmp_path), SOMEBODY)
    with pytest.raises(ConfigError, match="only root can become"):
        config.check(settings(tmp_path, "-username=imageserver"), SOMEBODY)


def test_directories(tmp_path: Path) -> None:
    """A directory that is not there is named, with what to do."""
    with pytest.raises(ConfigError, match=r"no directory /nonexistent: .* -objectDir"):
        config.check(settings(tmp_path, "-objectDir=/nonexistent"), SOMEBODY)


def test_insecure(tmp_path: Path) -> None:
    """Insecure mode needs permission, and no CA file; an empty one is a CA file."""
    authorities = tmp_path / "CA.pem"
    flag = f"-CAfile={authorities}"
    assert not settings(tmp_path, flag).is_insecure
    assert settings(tmp_path, flag, "-permitInsecureMode").is_insecure
    assert settings(tmp_path, "-CAfile=", "-permitInsecureMode").is_insecure
    with pytest.raises(CertificateError, match=f"missing CA: {authorities}"):
        _ = settings(tmp_path, flag).credential_files
    with pytest.raises(CertificateError, match="missing CA: no -CAfile"):
        _ = settings(tmp_path, "-CAfile=").credential_files
    insecure = settings(tmp_path, flag, "-permitInsecureMode").credential_files
    assert insecure.authorities is None
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for permission in ((), ("-permitInsecureMode",)):  # it might be there
        with pytest.raises(CertificateError, match="cannot read"):
            _ = settings(tmp_path, f"-CAfile={loop}", *permission).credential_files
    authorities.touch()
    assert not settings(tmp_path, flag, "-permitInsecureMode").is_insecure


def test_certificates(tmp_path: Path) -> None:
    """The flags name the files; only some of them can be left out."""
    authorities = tmp_path / "CA.pem"
    authorities.touch()
    found = settings(tmp_path, f"-CAfile={authorities}").credential_files
    assert found.authorities == authorities
    assert found.identity_authorities == Path("/etc/ssl/IdentityCA.pem")
    assert (found.revocations, found.strict, found.generate) == (None, False, False)
    flags = ("-identityCAfile=", "-CRLfile=x", "-CRLstrict", "-generateMissingWebcert")
    found = settings(tmp_path, f"-CAfile={authorities}", *flags).credential_files
    assert found.identity_authorities is None
    assert (found.revocations, found.strict, found.generate) == (Path("x"), True, True)
    config.check(settings(tmp_path, *flags), SOMEBODY)
    with pytest.raises(ConfigError, match="-CRLstrict needs -CRLfile"):
        config.check(settings(tmp_path, "-CRLstrict"), SOMEBODY)


def test_unix_socket(tmp_path: Path) -> None:
    """The socket has the number of the process, a name of one's own, or is none."""
    assert settings(tmp_path).unix_socket(17) == "@SRPC.17"
    for name in ("", "@name", "/run/imageserver/socket", "/run/PID"):
        found = settings(tmp_path, f"-srpcUnixSocketPath={name}")
        config.check(found, SOMEBODY)
        assert found.unix_socket(17) == name
    for name in ("@", "socket", "/" + 200 * "x"):
        found = settings(tmp_path, f"-srpcUnixSocketPath={name}")
        with pytest.raises(ConfigError, match=r"^-srpcUnixSocketPath: n"):
            config.check(found, SOMEBODY)


def test_objects() -> None:
    """Limits for objects, with the defaults that the documents name."""
    found = config.parse([])
    assert found.object_options.object_bytes == 16 << 40
    assert not found.object_options.verify_reads
    assert found.minimum_free_space == 0
    flags = ["-verifyReads", "-maxObjectSize=1GiB", "-minimumFreeSpace=10G"]
    found = config.parse(flags)
    assert found.object_options.object_bytes == 1 << 30
    assert found.object_options.verify_reads
    assert found.minimum_free_space == 10 << 30
    for wrong in ("-maxObjectSize=0", "-minimumFreeSpace=-1"):
        with pytest.raises(UsageError):
            config.parse([wrong])


def test_sources() -> None:
    """Sources of imports are URLs; there are none by default."""
    with pytest.raises(RequestError):
        config.parse([]).sources.find("http://example.com/")
    found = config.parse(["-importSources=http://a.example/x,https://b.example"])
    assert found.sources.find("http://a.example/x/y").host == "a.example"
    assert found.sources.find("https://b.example").host == "b.example"
    with pytest.raises(ConfigError, match="-importSources: not a plain"):
        assert config.parse(["-importSources=b.example"]).sources


# The reference's flags, with kinds and defaults as its help shows them.
REFERENCE = """
CAfile string /etc/ssl/CA.pem
allowPublicAddObjects bool false
allowPublicCheckObjects bool false
allowPublicGetObjects bool false
allowUnauthenticatedReads bool false
alsoLogToStderr bool false
archiveExpiringImages bool false
archiveMode bool false
certFile string /etc/ssl/imageserver/cert.pem
debug bool false
generateMissingWebcert bool false
identityCAfile string /etc/ssl/IdentityCA.pem
idleMarkTimeout duration 0s
imageDir string /var/lib/imageserver
imageServerHostname string
imageServerPortNum uint 6971
informationDatabaseTemplate string
initialLogDebugLevel int -1
keyFile string /etc/ssl/imageserver/key.pem
lockCheckInterval duration 2s
lockLogTimeout duration 5s
logAtStartup bool true
logDir string /var/log/imageserver
logFileMaxSize size 10MiB
logQuota size 100MiB
logSubseconds bool false
logbufLines uint 1024
maximumExpirationDuration duration 24h0m0s
maximumExpirationDurationPrivileged duration 730h0m0s
objectDir string /var/lib/objectserver
objectServerCleanupStartPercent int 95
objectServerCleanupStartSize size 0B
objectServerCleanupStopPercent int 90
objectServerCleanupStopSize size 0B
permitInsecureMode bool false
portNum uint 6971
replicationExcludeFilter string
replicationIncludeFilter string
srpcClientDoNotUseMethodPowers bool false
srpcDefaultConnectTimeout duration 15s
srpcDefaultKeepAlivePeriod duration 5m0s
srpcDefaultTlsHandshakeTimeout duration 1m0s
srpcProxy string
srpcTrustVmOwners bool true
srpcTrustedGroups list
srpcTrustedUsers list
srpcUnixSocketPath string @SRPC.PID
version bool false
"""


@pytest.mark.parametrize("line", REFERENCE.strip().splitlines())
def test_reference(line: str) -> None:
    """Its flags are there, of the same kind, and with the same defaults."""
    name, kind, *default = line.split()
    (flag,) = (flag for flag in config.FLAGS.flags if flag.name == name)
    assert (flag.kind.name, flag.kind.show(flag.default)) == (kind, "".join(default))
    config.parse([f"-{name}={''.join(default)}"], [])
