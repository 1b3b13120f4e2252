"""The flags of the daemon."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from imageserver.errors import CertificateError, ConfigError
from imageserver.flags import (
    BOOL,
    DURATION,
    LIST,
    MINUTE,
    STRING,
    UINT,
    Flag,
    FlagSet,
    UsageError,
)
from imageserver.srpc.credential_files import CredentialFiles, exists

_DATA, _TLS, _ACCESS, _PROCESS = "Data", "Port and TLS", "Access", "Process"

FLAGS = FlagSet(
    [
        Flag("imageDir", STRING, "/var/lib/imageserver", "where images are", _DATA),
        Flag("objectDir", STRING, "/var/lib/objectserver", "where objects are", _DATA),
        Flag("portNum", UINT, 6971, "port for calls and pages", _TLS),
        Flag("listenAddress", STRING, "", "address to listen on; empty: all", _TLS),
        Flag(
            "CAfile",
            STRING,
            "/etc/ssl/CA.pem",
            "CA certificates trusted for identity and methods",
            _TLS,
        ),
        Flag(
            "identityCAfile",
            STRING,
            "/etc/ssl/IdentityCA.pem",
            "CA certificates trusted for identity only; may be missing",
            _TLS,
        ),
        Flag(
            "CRLfile",
            STRING,
            "",
            "revocation lists of the CAs; empty: none",
            _TLS,
        ),
        Flag(
            "CRLstrict",
            BOOL,
            False,
            "refuse certificates whose CA has no current revocation list",
            _TLS,
        ),
        Flag(
            "certFile",
            STRING,
            "/etc/ssl/imageserver/cert.pem",
            "this server's certificate",
            _TLS,
        ),
        Flag("keyFile", STRING, "/etc/ssl/imageserver/key.pem", "its key", _TLS),
        Flag(
            "generateMissingWebcert",
            BOOL,
            False,
            "if there is no certificate, make one up",
            _TLS,
        ),
        Flag(
            "srpcDefaultTlsHandshakeTimeout",
            DURATION,
            MINUTE,
            "limit for TLS handshakes",
            _TLS,
        ),
        Flag(
            "srpcDefaultKeepAlivePeriod",
            DURATION,
            5 * MINUTE,
            "how often idle connections are probed",
            _TLS,
        ),
        Flag(
            "permitInsecureMode",
            BOOL,
            False,
            "if there is no CA file, let everybody do everything",
            _ACCESS,
        ),
        Flag(
            "allowPublicAddObjects",
            BOOL,
            False,
            "any authenticated user may call AddObjects",
            _ACCESS,
        ),
        Flag(
            "allowPublicCheckObjects",
            BOOL,
            False,
            "any authenticated user may call CheckObjects",
            _ACCESS,
        ),
        Flag(
            "allowPublicGetObjects",
            BOOL,
            False,
            "any authenticated user may call GetObjects",
            _ACCESS,
        ),
        Flag(
            "allowUnauthenticatedReads",
            BOOL,
            False,
            "reading needs no certificate",
            _ACCESS,
        ),
        Flag("srpcTrustedUsers", LIST, (), "users who may call everything", _ACCESS),
        Flag(
            "srpcTrustedGroups",
            LIST,
            (),
            "groups whose members may call everything",
            _ACCESS,
        ),
        Flag(
            "username",
            STRING,
            "",
            "started as root: become this user once the port is bound",
            _PROCESS,
        ),
        Flag("permitRoot", BOOL, False, "do run as root", _PROCESS),
        Flag("version", BOOL, False, "print the version and exit", _PROCESS),
    ]
)


@attrs.frozen
class Settings:
    """The values of the flags. Durations in nanoseconds."""

    image_dir: str
    object_dir: str
    port_num: int
    listen_address: str
    ca_file: str
    identity_ca_file: str
    crl_file: str
    crl_strict: bool
    cert_file: str
    key_file: str
    generate_missing_webcert: bool
    srpc_default_tls_handshake_timeout: int
    srpc_default_keep_alive_period: int
    permit_insecure_mode: bool
    allow_public_add_objects: bool
    allow_public_check_objects: bool
    allow_public_get_objects: bool
    allow_unauthenticated_reads: bool
    srpc_trusted_users: tuple[str, ...]
    srpc_trusted_groups: tuple[str, ...]
    username: str
    permit_root: bool
    version: bool

    @property
    def is_insecure(self) -> bool:
        """Whether the server is to run without authentication.

        Raises:
            CertificateError: it cannot be told whether there is a CA file.
        """
        return self.permit_insecure_mode and not (
            self.ca_file and exists(Path(self.ca_file))
        )

    @property
    def credential_files(self) -> CredentialFiles:
        """Where certificates and keys are.

        Raises:
            CertificateError: there is no CA file, and there has to be one.
        """
        insecure = self.is_insecure
        if not insecure and not (self.ca_file and exists(Path(self.ca_file))):
            raise CertificateError(
                f"missing CA: {self.ca_file or 'no -CAfile'} (see -permitInsecureMode)"
            )
        return CredentialFiles(
            Path(self.cert_file),
            Path(self.key_file),
            None if insecure else Path(self.ca_file),
            Path(self.identity_ca_file) if self.identity_ca_file else None,
            Path(self.crl_file) if self.crl_file else None,
            self.crl_strict,
            self.generate_missing_webcert,
        )


def parse(argv: Sequence[str]) -> Settings:
    """The settings that a command line asks for.

    Raises:
        UsageError: the command line is wrong.
        HelpRequested: it asks for help.
    """
    parsed = FLAGS.parse(argv)
    if parsed.arguments:
        raise UsageError(f"unexpected argument: {parsed.arguments[0]}")
    settings = FLAGS.decode(parsed.values, Settings)
    if not 0 <= settings.port_num < 1 << 16:
        raise UsageError(f'invalid value "{settings.port_num}" for flag -portNum')
    return settings


def check(settings: Settings, user_id: int) -> None:
    """Refuse what cannot work, before anything is begun.

    Args:
        settings: what is asked for.
        user_id: of the user that the process runs as.

    Raises:
        ConfigError: the text says what to do.
    """
    if user_id == 0 and not settings.username and not settings.permit_root:
        raise ConfigError(
            "Do not run the Image Server as root (see -username and -permitRoot)"
        )
    if user_id != 0 and settings.username:
        raise ConfigError("only root can become another user: leave -username out")
    if settings.crl_strict and not settings.crl_file:
        raise ConfigError("-CRLstrict needs -CRLfile")
    for flag, directory in (
        ("imageDir", settings.image_dir),
        ("objectDir", settings.object_dir),
    ):
        if not Path(directory).is_dir():
            raise ConfigError(f"no directory {directory}: make it, or use -{flag}")
