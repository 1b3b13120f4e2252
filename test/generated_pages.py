"""Pages of the documentation that are made from the program: ``make docs``."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tool_pages import commands_page
from twisted.internet import reactor

from imageserver import config
from imageserver.service import ImageServer
from imageserver.srpc.methods import Method
from imageserver.srpc.metric import BYTES
from imageserver.supervision import Supervisor
from imageserver.web.prometheus_metrics import PrometheusMetrics

DOCS = Path(__file__).parents[1] / "docs"
_OPENING = (
    *(f"allowPublic{verb}Objects" for verb in ("Add", "Check", "Get")),
    "allowUnauthenticatedReads",
)
NOTICE = "<!-- Made by `make docs`; changes here are lost. -->"


def flags_page() -> str:
    """``flags.md``."""
    lines = [
        "# Flags of imageserver",
        NOTICE,
        "The syntax is that of Go: one dash or two, `-name=value` or `-name value`,"
        " booleans only with `=`.",
        "[operations.md](operations.md#flags-files) tells of flags files. Units of"
        " durations: `ns us ms s m h`; of sizes: `B`, `KiB` or `K` and so on (powers"
        " of 1024), `kB` and so on (powers of 1000). Lists are separated by commas.",
    ]
    flags = config.FLAGS.flags
    for group, members in itertools.groupby(flags, key=lambda flag: flag.group):
        table = ["| flag | kind | default | |", "|---|---|---|---|"]
        for flag in members:
            default = flag.kind.show(flag.default)
            shown = f"`{default}`" if default else ""
            text = flag.help.replace("|", "\\|")
            table.append(f"| `-{flag.name}` | {flag.kind.name} | {shown} | {text} |")
        lines += [f"## {group}", "\n".join(table)]
    return "\n\n".join(lines) + "\n"


def methods_page() -> str:
    """``methods.md``."""
    lines = [
        "# Methods",
        NOTICE,
        "What clients may call ([protocol.md](protocol.md) has the way to call it;"
        " [security.md](security.md#access), who may).",
    ]
    plain = sorted(_methods(), key=lambda method: method.full_name)
    opened = {
        flag: {method.full_name: method for method in _methods(f"-{flag}")}
        for flag in _OPENING
    }
    for service, members in itertools.groupby(plain, lambda method: method.service):
        table = ["| method | who may call it | kind |", "|---|---|---|"]
        for method in members:
            kind = "stream" if method.stream is not None else "request, response"
            others = {flag: found[method.full_name] for flag, found in opened.items()}
            who = _who(method, others)
            table.append(f"| `{method.full_name}` | {who} | {kind} |")
        title = f"## {service}" if service else "## Of the transport"
        lines += [title, "\n".join(table)]
    return "\n\n".join(lines) + "\n"


def _who(method: Method, opened: dict[str, Method]) -> str:
    if method.is_builtin:
        return "everybody who is connected"
    who = ["every user" if method.public else "who has power over it"]
    for flag, other in opened.items():
        if other.public and not method.public:
            who.append(f"every user with `-{flag}`")
        if other.unauthenticated:
            who.append(f"anybody with `-{flag}`")
    return "; ".join(who)


def metrics_page() -> str:
    """``metrics.md``."""
    with _service("-imageServerHostname=master") as service:
        service.stores.open()
        source = service._make_pages().parts.source
        metrics = list(service.metrics)
        families = list(PrometheusMetrics(source, source.server.accounting).collect())
        services = {method.service for method in service._server.methods}
        service.stores.index.close()
    rows: dict[str, str] = {}
    for metric in metrics:
        text = metric.description
        _, *words = metric.path.split("/")
        if words[:2] == ["proc", "flags"]:
            words, text = ["proc", "flags", "*FLAG*"], "its value"
        elif words[:2] == ["srpc", "server"] and words[2] in services:
            words[2:4] = ["*SERVICE*", "*METHOD*"]
        elif words[:2] == ["srpc", "server"] and words[2] == "LocalUpgradeToUnix":
            continue
        unit = ", in bytes" if metric.unit == BYTES else ""
        path = "/".join(["", *words])
        rows.setdefault(path, f"| {path} | {text}{unit} |")
    lines = [
        "# Metrics",
        NOTICE,
        "[operations.md](operations.md#metrics) tells where they are to be had. Those"
        " of replication are there on servers that follow another.",
        "\n".join(["| path | what |", "|---|---|", *rows.values()]),
        "## For Prometheus",
        "\n".join(
            [
                "| name | kind | what |",
                "|---|---|---|",
                *(
                    f"| {it.name}{'_total' * (it.type == 'counter')} | {it.type} |"
                    f" {it.documentation} |"
                    for it in families
                ),
            ]
        ),
    ]
    return "\n\n".join(lines) + "\n"


def _methods(*flags: str) -> list[Method]:
    with _service(*flags) as service:
        return list(service._server.methods)


@contextmanager
def _service(*flags: str) -> Iterator[ImageServer]:
    """The service, on empty directories; not started."""
    with tempfile.TemporaryDirectory() as directory:
        settings = config.parse(
            [
                *(f"-{name}={directory}" for name in ("imageDir", "objectDir")),
                *("-CAfile=", "-permitInsecureMode"),
                *flags,
            ],
            [],
        )
        yield ImageServer(
            reactor,
            settings,
            lambda: None,
            lambda error: None,
            Supervisor(reactor, {}, 0),
        )


PAGES = {
    "commands.md": lambda: commands_page(NOTICE),
    "flags.md": flags_page,
    "methods.md": methods_page,
    "metrics.md": metrics_page,
}


def main() -> None:
    """Write all of them."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())


if __name__ == "__main__":
    main()
