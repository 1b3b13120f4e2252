"""Where the server listens, and how connections are secured."""

from __future__ import annotations

from pathlib import Path

import attrs

from imageserver.errors import CertificateError, ConfigError
from imageserver.flags import BOOL, DURATION, MINUTE, STRING, UINT, Flag
from imageserver.srpc.credential_files import CredentialFiles, exists
from imageserver.srpc.local_socket import address_of

_GROUP = "Port and TLS"
_UNIX_SOCKET = "@SRPC.PID"

FLAGS = (
    Flag("portNum", UINT, 6971, "port for calls and pages", _GROUP, most=65535),
    Flag("listenAddress", STRING, "", "address to listen on; empty: all", _GROUP),
    Flag(
        "CAfile",
        STRING,
        "/etc/ssl/CA.pem",
        "CA certificates trusted for identity and methods",
        _GROUP,
    ),
    Flag(
        "identityCAfile",
        STRING,
        "/etc/ssl/IdentityCA.pem",
        "CA certificates trusted for identity only; may be missing",
        _GROUP,
    ),
    Flag(
        "CRLfile",
        STRING,
        "",
        "revocation lists of the CAs; empty: none",
        _GROUP,
    ),
    Flag(
        "CRLstrict",
        BOOL,
        False,
        "refuse certificates whose CA has no current revocation list",
        _GROUP,
    ),
    Flag(
        "certFile",
        STRING,
        "/etc/ssl/imageserver/cert.pem",
        "this server's certificate",
        _GROUP,
    ),
    Flag("keyFile", STRING, "/etc/ssl/imageserver/key.pem", "its key", _GROUP),
    Flag(
        "generateMissingWebcert",
        BOOL,
        False,
        "if there is no certificate, make one up",
        _GROUP,
    ),
    Flag(
        "permitInsecureMode",
        BOOL,
        False,
        "if there is no CA file, let everybody do everything",
        _GROUP,
    ),
    Flag(
        "srpcDefaultTlsHandshakeTimeout",
        DURATION,
        MINUTE,
        "limit for TLS handshakes",
        _GROUP,
        least=1,
    ),
    Flag(
        "srpcDefaultKeepAlivePeriod",
        DURATION,
        5 * MINUTE,
        "how often idle connections are probed",
        _GROUP,
        least=1,
    ),
    Flag(
        "srpcUnixSocketPath",
        STRING,
        _UNIX_SOCKET,
        "Unix socket to which local clients move: path, or @ and an abstract name;"
        " empty: none; PID in the default is the number of the process",
        _GROUP,
    ),
    Flag(
        "requireTLS",
        BOOL,
        False,
        "take only connections that are TLS from their first byte on; pages, too",
        _GROUP,
    ),
)


@attrs.frozen(slots=False)
class PortSettings:
    """Where the server listens, and how connections are secured."""

    port_num: int
    listen_address: str
    ca_file: str
    identity_ca_file: str
    crl_file: str
    crl_strict: bool
    cert_file: str
    key_file: str
    generate_missing_webcert: bool
    permit_insecure_mode: bool
    srpc_default_tls_handshake_timeout: int
    srpc_default_keep_alive_period: int
    srpc_unix_socket_path: str
    require_tls: bool

    @property
    def is_insecure(self) -> bool:
        """Whether the server is to run without authentication.

        Raises:
            CertificateError: it cannot be told whether there is a CA file.
        """
        return self.permit_insecure_mode and not (
            self.ca_file and exists(Path(self.ca_file))
        )

    def unix_socket(self, process_id: int) -> str:
        """The name of the Unix socket for local clients; empty: there is none.

        Raises:
            ConfigError: it cannot have that name.
        """
        name = self.srpc_unix_socket_path
        if name == _UNIX_SOCKET:
            name = name.replace("PID", str(process_id))
        try:
            if name:
                address_of(name)
        except ValueError as error:
            raise ConfigError(f"-srpcUnixSocketPath: {error}") from error
        return name

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
