"""The flags of the daemon."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from imageserver.errors import CertificateError, ConfigError
from imageserver.flags import (
    BOOL,
    DURATION,
    HOUR,
    INT,
    LIST,
    MINUTE,
    SECOND,
    SIZE,
    STRING,
    UINT,
    Flag,
    FlagSet,
    UsageError,
)
from imageserver.images.expiration import (
    PRIVILEGED_NS,
    REGULAR_NS,
    ExpirationLimits,
)
from imageserver.log import NO_DEBUG
from imageserver.objects.collection import CleanupLimits
from imageserver.rpc.import_sources import ImportSources
from imageserver.rpc.object_server import OBJECT_BYTES, ObjectOptions
from imageserver.srpc.connection_limits import ConnectionLimits
from imageserver.srpc.credential_files import CredentialFiles, exists
from imageserver.srpc.deadlines import Deadlines, Lengths
from imageserver.srpc.local_socket import address_of
from imageserver.srpc.message_memory import MEMORY_BYTES

_DATA, _TLS, _ACCESS, _PROCESS = "Data", "Port and TLS", "Access", "Process"
_LIMITS, _IMAGES = "Limits for peers", "Images"
_UNIX_SOCKET = "@SRPC.PID"
_AUDIT_FILE = ".audit.jsonl"
_MAY_BE_ZERO = frozenset(
    {
        "minimumFreeSpace",
        "objectServerCleanupStartSize",
        "objectServerCleanupStopSize",
        "scrubRate",
    }
)

FLAGS = FlagSet(
    [
        Flag("imageDir", STRING, "/var/lib/imageserver", "where images are", _DATA),
        Flag("objectDir", STRING, "/var/lib/objectserver", "where objects are", _DATA),
        Flag(
            "auditLog",
            STRING,
            "",
            "where changes are written down; empty: .audit.jsonl in -imageDir",
            _DATA,
        ),
        Flag(
            "maximumExpirationDuration",
            DURATION,
            REGULAR_NS,
            "how far off the expiration of an image may be put",
            _IMAGES,
        ),
        Flag(
            "maximumExpirationDurationPrivileged",
            DURATION,
            PRIVILEGED_NS,
            "... by users with power over the method",
            _IMAGES,
        ),
        Flag(
            "informationDatabaseTemplate",
            STRING,
            "",
            "makes the address of a page about an image: http://db/{{.Name}}",
            _IMAGES,
        ),
        Flag(
            "uploadLease",
            DURATION,
            HOUR,
            "how long uploads are kept for an image, from when their connection ends",
            _DATA,
        ),
        Flag(
            "objectServerCleanupStartPercent",
            INT,
            95,
            "how full the file system is when unreferenced objects are removed",
            _DATA,
        ),
        Flag(
            "objectServerCleanupStopPercent",
            INT,
            90,
            "how full it is to be then",
            _DATA,
        ),
        Flag(
            "objectServerCleanupStartSize",
            SIZE,
            0,
            "size of the unreferenced objects when some are removed, if it is more than"
            " objectServerCleanupStopSize",
            _DATA,
        ),
        Flag(
            "objectServerCleanupStopSize",
            SIZE,
            0,
            "their size after that",
            _DATA,
        ),
        Flag(
            "objectServerCleanupDryRun",
            BOOL,
            False,
            "only log what would be removed",
            _DATA,
        ),
        Flag(
            "scrubRate",
            SIZE,
            10 << 20,
            "bytes per second of objects that are read again, to find damaged ones; 0:"
            " none",
            _DATA,
        ),
        Flag(
            "scrubInterval",
            DURATION,
            7 * 24 * HOUR,
            "how often all objects are read again, at that rate",
            _DATA,
        ),
        Flag(
            "minimumFreeSpace",
            SIZE,
            0,
            "space that uploads leave free; 0: 64 MiB, or 2 % of a small file system",
            _DATA,
        ),
        Flag(
            "verifyReads",
            BOOL,
            False,
            "check objects while they are sent; a damaged one breaks the connection",
            _DATA,
        ),
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
            "srpcUnixSocketPath",
            STRING,
            _UNIX_SOCKET,
            "Unix socket to which local clients move: path, or @ and an abstract name;"
            " empty: none; PID in the default is the number of the process",
            _TLS,
        ),
        Flag(
            "requireTLS",
            BOOL,
            False,
            "take only connections that are TLS from their first byte on; pages, too",
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
        Flag(
            "importSources",
            LIST,
            (),
            "URLs below which ImportObjects may fetch; empty: none",
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
            "maxConnections",
            UINT,
            0,
            "open connections; 0: 20000, or what the limit of open files allows",
            _LIMITS,
        ),
        Flag(
            "maxConnectionsPerAddress",
            UINT,
            0,
            "... from one address, but this machine; 0: half of all",
            _LIMITS,
        ),
        Flag(
            "maxConnectionsPerUser",
            UINT,
            0,
            "... by one user; 0: half of all",
            _LIMITS,
        ),
        Flag(
            "maxHalfOpenConnections",
            UINT,
            0,
            "... of peers not known yet, and for pages; 0: 4096, or half of all",
            _LIMITS,
        ),
        Flag(
            "firstByteTimeout",
            DURATION,
            15 * SECOND,
            "limit for the first byte on a connection",
            _LIMITS,
        ),
        Flag(
            "requestHeadTimeout",
            DURATION,
            30 * SECOND,
            "limit for the head of the first request",
            _LIMITS,
        ),
        Flag(
            "callBodyTimeout",
            DURATION,
            15 * MINUTE,
            "limit for each next piece of a call's body",
            _LIMITS,
        ),
        Flag(
            "stalledReaderTimeout",
            DURATION,
            5 * MINUTE,
            "how long a peer may not read what it is sent",
            _LIMITS,
        ),
        Flag(
            "maxRequestHead",
            SIZE,
            32 << 10,
            "length of the head of the first request",
            _LIMITS,
        ),
        Flag("maxMethodLine", SIZE, 512, "length of a method line", _LIMITS),
        Flag(
            "maxHashListMessage",
            SIZE,
            32 << 20,
            "length of a request of CheckObjects and GetObjects",
            _LIMITS,
        ),
        Flag(
            "maxObjectSize",
            SIZE,
            OBJECT_BYTES,
            "size of an object",
            _LIMITS,
        ),
        Flag(
            "maxImageMessage",
            SIZE,
            512 << 20,
            "length of a request of AddImage",
            _LIMITS,
        ),
        Flag(
            "maxMessageMemory",
            SIZE,
            MEMORY_BYTES,
            "memory for requests of more than 16 KiB while they come in, of all peers",
            _LIMITS,
        ),
        Flag(
            "username",
            STRING,
            "",
            "started as root: become this user once the port is bound",
            _PROCESS,
        ),
        Flag(
            "initialLogDebugLevel",
            INT,
            NO_DEBUG,
            "up to which level debug messages are logged; -1: none",
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
    audit_log: str
    maximum_expiration_duration: int
    maximum_expiration_duration_privileged: int
    information_database_template: str
    upload_lease: int
    object_server_cleanup_start_percent: int
    object_server_cleanup_stop_percent: int
    object_server_cleanup_start_size: int
    object_server_cleanup_stop_size: int
    object_server_cleanup_dry_run: bool
    scrub_rate: int
    scrub_interval: int
    minimum_free_space: int
    verify_reads: bool
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
    srpc_unix_socket_path: str
    require_tls: bool
    permit_insecure_mode: bool
    allow_public_add_objects: bool
    allow_public_check_objects: bool
    allow_public_get_objects: bool
    allow_unauthenticated_reads: bool
    import_sources: tuple[str, ...]
    srpc_trusted_users: tuple[str, ...]
    srpc_trusted_groups: tuple[str, ...]
    max_connections: int
    max_connections_per_address: int
    max_connections_per_user: int
    max_half_open_connections: int
    first_byte_timeout: int
    request_head_timeout: int
    call_body_timeout: int
    stalled_reader_timeout: int
    max_request_head: int
    max_method_line: int
    max_hash_list_message: int
    max_object_size: int
    max_image_message: int
    max_message_memory: int
    username: str
    initial_log_debug_level: int
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
    def cleanup_limits(self) -> CleanupLimits:
        """When unreferenced objects are removed."""
        return CleanupLimits(
            self.object_server_cleanup_start_percent,
            self.object_server_cleanup_stop_percent,
            self.object_server_cleanup_start_size,
            self.object_server_cleanup_stop_size,
        )

    @property
    def deadlines(self) -> Deadlines:
        """How long peers may take."""
        return Deadlines(
            first_byte_s=self.first_byte_timeout / SECOND,
            head_s=self.request_head_timeout / SECOND,
            handshake_s=self.srpc_default_tls_handshake_timeout / SECOND,
            body_s=self.call_body_timeout / SECOND,
            stall_s=self.stalled_reader_timeout / SECOND,
            keep_alive_s=self.srpc_default_keep_alive_period / SECOND,
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
    def audit_path(self) -> Path:
        """Where changes are written down."""
        return Path(self.audit_log or Path(self.image_dir) / _AUDIT_FILE)

    @property
    def expiration_limits(self) -> ExpirationLimits:
        """How far off expirations may be put."""
        return ExpirationLimits(
            self.maximum_expiration_duration,
            self.maximum_expiration_duration_privileged,
        )

    @property
    def lengths(self) -> Lengths:
        """How much peers may say."""
        return Lengths(
            self.max_request_head,
            self.max_method_line,
            max(self.max_message_memory, self.max_image_message),
        )

    @property
    def object_options(self) -> ObjectOptions:
        """How objects are served."""
        return ObjectOptions(self.verify_reads, self.max_object_size)

    @property
    def sources(self) -> ImportSources:
        """From where objects may be imported.

        Raises:
            ConfigError: one of them is not a plain URL.
        """
        return ImportSources(self.import_sources)

    def connection_limits(self, descriptors: int) -> ConnectionLimits:
        """How many connections there may be.

        Args:
            descriptors: how many files and connections the process may have open.
        """
        return ConnectionLimits.choose(
            descriptors,
            self.max_connections,
            self.max_connections_per_address,
            self.max_connections_per_user,
            self.max_half_open_connections,
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
    for flag in FLAGS.flags:
        at_least = 0 if flag.name in _MAY_BE_ZERO else 1
        if flag.kind in (DURATION, SIZE) and parsed.values[flag.name] < at_least:
            raise UsageError(f"-{flag.name} has to be more than 0")
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
    settings.unix_socket(0)
    for flag, directory in (
        ("imageDir", settings.image_dir),
        ("objectDir", settings.object_dir),
    ):
        if not Path(directory).is_dir():
            raise ConfigError(f"no directory {directory}: make it, or use -{flag}")
