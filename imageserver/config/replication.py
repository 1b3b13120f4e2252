"""Following a master."""

from __future__ import annotations

from pathlib import Path

import attrs

from imageserver.errors import ConfigError
from imageserver.flags import BOOL, LIST, SIZE, STRING, UINT, Flag
from imageserver.replication.bandwidth import Schedule, parse_schedule
from imageserver.replication.rules import Rules, load_filter

_GROUP = "Replication"

FLAGS = (
    Flag(
        "imageServerHostname",
        STRING,
        "",
        "master to follow; empty: this server is one itself",
        _GROUP,
    ),
    Flag("imageServerPortNum", UINT, 6971, "its port", _GROUP),
    Flag(
        "imageServerCAfile",
        STRING,
        "",
        "CA certificates that the master's has to come from; empty: any will do",
        _GROUP,
    ),
    Flag(
        "archiveMode",
        BOOL,
        False,
        "delete nothing that the master deletes, or that expires",
        _GROUP,
    ),
    Flag(
        "archiveExpiringImages",
        BOOL,
        False,
        "with -archiveMode: keep images that expire, too",
        _GROUP,
    ),
    Flag(
        "replicationExcludeFilter",
        STRING,
        "",
        "file with expressions for names of images that are left out",
        _GROUP,
    ),
    Flag(
        "replicationIncludeFilter",
        STRING,
        "",
        "file with expressions for names of images that are wanted; empty: all",
        _GROUP,
    ),
    Flag(
        "replicationStreams",
        UINT,
        4,
        "in how many streams objects are fetched",
        _GROUP,
        least=1,
        most=64,
    ),
    Flag(
        "replicationBandwidth",
        SIZE,
        0,
        "bytes of objects to fetch in a second; 0: no limit",
        _GROUP,
    ),
    Flag(
        "replicationBandwidthSchedule",
        LIST,
        (),
        "the same for parts of the day: 08:00-18:00=10MiB,18:00-23:00=50MiB",
        _GROUP,
    ),
    Flag(
        "replicationOnDemand",
        BOOL,
        False,
        "fetch images that are left out, or not here yet, when somebody asks for them",
        _GROUP,
    ),
)


@attrs.frozen(slots=False)
class ReplicationSettings:
    """Following a master."""

    image_server_hostname: str
    image_server_port_num: int
    image_server_ca_file: str
    archive_mode: bool
    archive_expiring_images: bool
    replication_exclude_filter: str
    replication_include_filter: str
    replication_streams: int
    replication_bandwidth: int
    replication_bandwidth_schedule: tuple[str, ...]
    replication_on_demand: bool

    @property
    def replication_master(self) -> str:
        """Host and port of the master; empty: there is none."""
        if not self.image_server_hostname:
            return ""
        return f"{self.image_server_hostname}:{self.image_server_port_num}"

    @property
    def has_filters(self) -> bool:
        """Whether some images are not wanted."""
        return bool(self.replication_exclude_filter or self.replication_include_filter)

    def read_rules(self) -> Rules:
        """Read which images are wanted.

        Raises:
            ConfigError: a filter cannot be used.
        """
        return Rules(
            load_filter("replicationExcludeFilter", self.replication_exclude_filter),
            load_filter("replicationIncludeFilter", self.replication_include_filter),
            self.archive_mode,
            self.archive_expiring_images,
            self.replication_on_demand,
        )

    @property
    def replication_schedule(self) -> Schedule:
        """How much may be fetched in a second.

        Raises:
            ConfigError: it is malformed.
        """
        return parse_schedule(
            self.replication_bandwidth, self.replication_bandwidth_schedule
        )

    def check_replication(self, scrub_rate: int) -> None:
        """Refuse what cannot work.

        Args:
            scrub_rate: how fast objects are read again.

        Raises:
            ConfigError: the text says what to do.
        """
        if self.archive_mode and not self.image_server_hostname:
            raise ConfigError("replication master required in archive mode")
        if self.archive_mode and not scrub_rate:
            raise ConfigError("-archiveMode needs -scrubRate: archives are read again")
        if self.image_server_ca_file and not Path(self.image_server_ca_file).exists():
            path = self.image_server_ca_file
            raise ConfigError(f"-imageServerCAfile: there is no {path}")
        _ = self.read_rules(), self.replication_schedule
