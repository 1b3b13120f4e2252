"""The values of the flags."""

from __future__ import annotations

import attrs


@attrs.frozen
class Connecting:
    """The values of the flags for connecting, and of others that all tools have.

    Durations in nanoseconds.
    """

    cert_directory: str
    server_ca_file: str
    json: bool
    quiet: bool
    log_datestamps: bool
    log_debug_level: int
    log_subseconds: bool
    srpc_client_do_not_use_method_powers: bool
    srpc_default_connect_timeout: int
    srpc_default_keep_alive_period: int
    srpc_default_tls_handshake_timeout: int
    srpc_proxy: str


@attrs.frozen
class Settings(Connecting):
    """The values of imagetool's flags."""

    build_branch: str
    build_commit_id: str
    build_git_url: str
    build_log: str
    compress: bool
    computed_files: str
    computed_files_root: str
    copy_mtimes_from: str
    created_for: str
    delete_filter: str
    diff_args: tuple[str, ...]
    expires_in: int
    filter_file: str
    ignore_expiring: bool
    ignore_filters: bool
    image_server_hostname: str
    image_server_port_num: int
    master_image_server_hostname: str
    object_cache_directory: str
    object_cache_size: int
    owner_groups: tuple[str, ...]
    owner_users: tuple[str, ...]
    packages: bool
    release_notes: str
    required_paths: str
    run_triggers: bool
    scan_exclude_list: tuple[str, ...]
    skip_fields: str
    source_image: str
    streams: int
    tags: tuple[str, ...]
    tags_to_match: dict[str, tuple[str, ...]]
    timeout: int


@attrs.frozen
class ObjectSettings(Connecting):
    """The values of objecttool's flags."""

    chunk_size: int
    object_server_hostname: str
    object_server_port_num: int
    show_hashes: bool
    test_duration: int
