"""``imageserver-cert``: a CA, and the certificates of servers and users, as files.

::

    imageserver-cert ca                                     CA.pem, CA.key
    imageserver-cert server -hosts images.example.com NAME  NAME/cert.pem, NAME/key.pem
    imageserver-cert replica -hosts ... NAME                ... with a replica's methods
    imageserver-cert admin NAME                             ... with all methods
    imageserver-cert user -methods A.B,C.* -groups g NAME   ... with these
    imageserver-cert intermediate NAME                      NAME/CA.pem, NAME/CA.key
    imageserver-cert revoke NAME                            CRL.pem
    imageserver-cert show FILE                              what is inside

An intermediate is a CA of its own: ``-directory NAME``. A tool of ours takes
``-certDirectory NAME``; a server takes the two files.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from imageserver.errors import CertificateError, ConfigError, ImageServerError
from imageserver.flags import (
    BOOL,
    LIST,
    STRING,
    UINT,
    Flag,
    FlagSet,
    HelpRequested,
    UsageError,
)
from imageserver.tool.authority import REPLICA_METHODS, Authority, Pair, Validity
from imageserver.tool.description import describe_certificates
from imageserver.tool.pair_files import replace_file, write_pair
from imageserver.tool.private_key import KEY_TYPES
from imageserver.tool.revocation_list import extend_list

PROGRAM = "imageserver-cert"
_COMMANDS = """
Commands:
  ca            make a certificate authority: CA.pem and CA.key
  server NAME   make NAME/cert.pem and NAME/key.pem for a server
  replica NAME  ... for a server that follows another, with its methods
  admin NAME    ... for a user who may call all methods
  user NAME     ... for a user who may call the methods given, if any
  intermediate NAME
                make NAME/CA.pem and NAME/CA.key for a CA below this one
  revoke [NAME] put a certificate (a user's, a file's, or by -serial) on the
                revocation list CRL.pem; without any, renew the list
  show FILE     tell what is in the certificates of a file
"""

_FAILED = 1
_MISUSED = 2

_CA_DAYS = 3650
_LEAF_DAYS = 365
_LIST_DAYS = 90
_MOST_DAYS = 36_500
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
_SERIAL = re.compile(r"0*[1-9a-fA-F][0-9a-fA-F]{0,38}", re.ASCII)
_CA_CERTIFICATE = "CA.pem"
_CA_KEY = "CA.key"
_LIST = "CRL.pem"

FLAGS = FlagSet(
    [
        Flag("directory", STRING, ".", "where the CA is, and what it issues"),
        Flag("force", BOOL, False, "replace files that are there already"),
        Flag("keyType", STRING, "ecdsa", "ecdsa, rsa or ed25519"),
        Flag(
            "days",
            UINT,
            0,
            f"how long the certificate is valid; 0 means {_CA_DAYS} days for a CA, "
            f"{_LIST_DAYS} for a revocation list and {_LEAF_DAYS} for others, which "
            "never outlive their CA",
        ),
        Flag("name", STRING, "my root CA", "the name of the CA", "Flags of ca"),
        Flag(
            "hosts",
            LIST,
            ("localhost", "127.0.0.1"),
            "names and addresses of the server",
            "Flags of server and replica",
        ),
        Flag(
            "groups",
            LIST,
            (),
            "groups that the user belongs to",
            "Flags of admin and user",
        ),
        Flag(
            "methods",
            LIST,
            (),
            "methods that the user may call, such as ImageServer.GetImage or "
            "ObjectServer.*",
            "Flags of user",
        ),
        Flag(
            "serial",
            STRING,
            "",
            "the number of the certificate, hexadecimal as show tells it",
            "Flags of revoke",
        ),
    ]
)

_COMMON_FLAGS = frozenset({"directory", "force", "keyType", "days"})
_FLAGS_OF = {
    "ca": _COMMON_FLAGS | {"name"},
    "server": _COMMON_FLAGS | {"hosts"},
    "replica": _COMMON_FLAGS | {"hosts"},
    "admin": _COMMON_FLAGS | {"groups"},
    "user": _COMMON_FLAGS | {"groups", "methods"},
    "intermediate": _COMMON_FLAGS,
    "revoke": frozenset({"directory", "days", "serial"}),
    "show": frozenset[str](),
}
_ARGUMENTS_OF = {"ca": (0,), "revoke": (0, 1)}
_METHODS_OF = {"server": (), "replica": REPLICA_METHODS, "admin": ("*.*",)}


@attrs.frozen
class Options:
    """The values of the flags."""

    directory: str
    force: bool
    key_type: str
    days: int
    name: str
    hosts: tuple[str, ...]
    groups: tuple[str, ...]
    methods: tuple[str, ...]
    serial: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments without the program's name; None takes the process's.

    Returns:
        The exit code: 0, or 1 after an error, or 2 if the arguments are wrong.
    """
    try:
        print(_run(sys.argv[1:] if argv is None else argv))
    except HelpRequested:
        print(_usage(), end="")
    except ConfigError as error:
        print(f"{PROGRAM}: {error}\n{_usage()}", end="", file=sys.stderr)
        return _MISUSED
    except ImageServerError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return _FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{PROGRAM}: {where}{error.strerror}", file=sys.stderr)
        return _FAILED
    return 0


def _run(argv: Sequence[str]) -> str:
    command, operands, options = _parse(argv)
    if command == "ca":
        return _make_authority(options)
    if command == "show":
        return _show(Path(operands[0]))
    if command == "revoke":
        return _revoke(operands, options)
    return _issue(command, operands[0], options)


def _usage() -> str:
    return FLAGS.usage(PROGRAM, "COMMAND [NAME or FILE]") + _COMMANDS


def _show(path: Path) -> str:
    try:
        return describe_certificates(path.read_bytes())
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}") from error


def _parse(argv: Sequence[str]) -> tuple[str, list[str], Options]:
    """Command, operands and options; flags may stand anywhere among the words."""
    words: list[str] = []
    given: set[str] = set()
    parsed = FLAGS.parse(argv)
    while True:
        given |= parsed.given
        if not parsed.arguments:
            break
        words.append(parsed.arguments[0])
        parsed = FLAGS.parse(parsed.arguments[1:], parsed.values)
    command = words.pop(0) if words else ""
    if command not in _FLAGS_OF:
        raise UsageError(f"unknown command: {command}" if command else "no command")
    if len(words) not in _ARGUMENTS_OF.get(command, (1,)):
        raise UsageError(f"wrong number of arguments for {command}")
    for name in sorted(given - _FLAGS_OF[command]):
        raise UsageError(f"{command} does not take the flag -{name}")
    options = FLAGS.decode(parsed.values, Options)
    if options.key_type not in KEY_TYPES:
        raise UsageError(f"unknown type of key: {options.key_type}")
    if options.days > _MOST_DAYS:
        raise UsageError(f"more than {_MOST_DAYS} days")
    return command, words, options


def _make_authority(options: Options) -> str:
    directory = Path(options.directory)
    validity = Validity.of_days(options.days or _CA_DAYS)
    authority = Authority.create(options.name, validity, options.key_type)
    certificate_path = directory / _CA_CERTIFICATE
    key_path = directory / _CA_KEY
    return _write(authority.pair, certificate_path, key_path, options)


def _issue(command: str, name: str, options: Options) -> str:
    if not _NAME.fullmatch(name) or name in (_CA_CERTIFICATE, _CA_KEY, _LIST):
        raise UsageError(
            f"not a name of at most 64 letters, digits and . _ @ + -: {name!r}"
        )
    directory = Path(options.directory)
    if command == "intermediate":
        return _make_intermediate(directory, name, options)
    serves = command in ("server", "replica")
    pair = _load_authority(directory).issue(
        name,
        Validity.of_days(options.days or _LEAF_DAYS),
        methods=_METHODS_OF.get(command, options.methods),
        groups=options.groups,
        hosts=options.hosts if serves else None,
        key_type=options.key_type,
    )
    certificate_path = directory / name / "cert.pem"
    key_path = directory / name / "key.pem"
    return _write(pair, certificate_path, key_path, options)


def _make_intermediate(directory: Path, name: str, options: Options) -> str:
    above = _load_authority(directory)
    validity = Validity.of_days(options.days or _CA_DAYS)
    validity = validity.until(above.certificate.not_valid_after_utc)
    pair = above.intermediate(name, validity, options.key_type).pair
    folder = directory / name
    return _write(pair, folder / _CA_CERTIFICATE, folder / _CA_KEY, options)


def _revoke(operands: list[str], options: Options) -> str:
    directory = Path(options.directory)
    authority = _load_authority(directory)
    serials = [_serial_of(operand, authority, directory) for operand in operands]
    if options.serial:
        if not _SERIAL.fullmatch(options.serial):
            raise UsageError(f"not a serial number: {options.serial}")
        serials.append(int(options.serial, 16))
    path = directory / _LIST
    try:
        known = path.read_bytes() if path.exists() else b""
        validity = Validity.of_days(options.days or _LIST_DAYS)
        replace_file(path, extend_list(authority, known, serials, validity))
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}") from error
    revoked = "".join(f"revoked {serial:x}\n" for serial in serials)
    return f"{revoked}wrote {path}, valid until {validity.not_after:%Y-%m-%d}"


def _serial_of(operand: str, authority: Authority, directory: Path) -> int:
    """The serial number of a certificate, given by the user's name or the file."""
    named = directory / operand / "cert.pem"
    path = named if named.exists() else Path(operand)
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        certificate.verify_directly_issued_by(authority.certificate)
    except FileNotFoundError:
        raise CertificateError(f"neither {named} nor {operand} is there") from None
    except (ValueError, TypeError, InvalidSignature) as error:
        raise CertificateError(f"{path}: not a certificate of this CA") from error
    return certificate.serial_number


def _write(pair: Pair, certificate_path: Path, key_path: Path, options: Options) -> str:
    write_pair(pair, certificate_path, key_path, replace=options.force)
    end = x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc
    return f"wrote {certificate_path} and {key_path}, valid until {end:%Y-%m-%d}"


def _load_authority(directory: Path) -> Authority:
    try:
        certificates = (directory / _CA_CERTIFICATE).read_bytes()
        key = (directory / _CA_KEY).read_bytes()
    except FileNotFoundError as error:
        hint = f"no CA in {directory}: make one with {PROGRAM} ca"
        raise CertificateError(hint) from error
    try:
        authority = Authority.load(certificates, key)
    except CertificateError as error:
        raise CertificateError(f"the CA in {directory}: {error}") from error
    if authority.certificate.not_valid_after_utc <= datetime.datetime.now(datetime.UTC):
        raise CertificateError(f"the CA in {directory} has expired")
    return authority
