"""All flags of the daemon together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from imageserver.config import (
    accepted,
    access,
    collection,
    data,
    images,
    limits,
    logs,
    outgoing,
    pages,
    port,
    process,
    replication,
)
from imageserver.config.flags_files import FLAGS_FILES, read_flags_files
from imageserver.errors import ConfigError
from imageserver.flags import SECOND, FlagSet, UsageError
from imageserver.rpc.object_server import ObjectOptions
from imageserver.srpc.deadlines import Deadlines

FLAGS = FlagSet(
    [
        *data.FLAGS,
        *collection.FLAGS,
        *images.FLAGS,
        *replication.FLAGS,
        *port.FLAGS,
        *access.FLAGS,
        *pages.FLAGS,
        *outgoing.FLAGS,
        *limits.FLAGS,
        *logs.FLAGS,
        *process.FLAGS,
        *accepted.FLAGS,
    ]
)


@attrs.frozen(slots=False)
class Settings(
    data.DataSettings,
    collection.CollectionSettings,
    images.ImageSettings,
    replication.ReplicationSettings,
    port.PortSettings,
    access.AccessSettings,
    pages.PageSettings,
    outgoing.OutgoingSettings,
    limits.LimitSettings,
    logs.LogSettings,
    process.ProcessSettings,
):
    """The values of the flags. Durations in nanoseconds.

    Attributes:
        flag_values: of all flags, by name, as the command line takes them.
        unused: the names of flags that were set, and have no effect.
    """

    flag_values: dict[str, str] = attrs.field(factory=dict, kw_only=True, repr=False)
    unused: tuple[str, ...] = attrs.field(default=(), kw_only=True)

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

    @property
    def object_options(self) -> ObjectOptions:
        """How objects are served."""
        return ObjectOptions(self.verify_reads, self.max_object_size)


def parse(argv: Sequence[str], flags_files: Iterable[Path] = FLAGS_FILES) -> Settings:
    """The settings that flags files and a command line ask for.

    Args:
        argv: the command line, without the program's name; it has the last word.
        flags_files: read in this order; they may be missing.

    Raises:
        ConfigError: a flags file is wrong.
        UsageError: the command line is wrong.
        HelpRequested: it asks for help.
    """
    FLAGS.parse(argv)  # a mistake there, or a call for help, comes first
    values = FLAGS.defaults()
    given = read_flags_files(FLAGS, flags_files, values)
    parsed = FLAGS.parse(argv, values)
    given |= parsed.given
    if parsed.arguments:
        raise UsageError(f"unexpected argument: {parsed.arguments[0]}")
    return attrs.evolve(
        FLAGS.decode(parsed.values, Settings),
        flag_values=FLAGS.show(parsed.values),
        unused=tuple(flag.name for flag in accepted.FLAGS if flag.name in given),
    )


def check(settings: Settings, user_id: int) -> None:
    """Refuse what cannot work, before anything is begun.

    Args:
        settings: what is asked for.
        user_id: of the user that the process runs as.

    Raises:
        ConfigError: the text says what to do.
    """
    settings.check_user(user_id)
    if settings.crl_strict and not settings.crl_file:
        raise ConfigError("-CRLstrict needs -CRLfile")
    settings.unix_socket(0)
    settings.check_directories()
    settings.check_replication(settings.scrub_rate)
