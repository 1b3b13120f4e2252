"""What pages are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from imageserver.flags import FlagSet
from imageserver.images.information import InformationTemplate
from imageserver.srpc.metric import MetricRegistry
from imageserver.web.history import History
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.log_lines import LogFilesView, LogLines
from imageserver.web.rendering import HostName, Renderer
from imageserver.web.sampling import Sampler
from imageserver.web.space_survey import Surveyor
from imageserver.web.status import StatusSource


def _no_information() -> InformationTemplate:
    return InformationTemplate("")


@attrs.frozen
class WebOptions:
    """How the pages are to be.

    Attributes:
        opened: the sections that everybody may see.
        information: makes the addresses of more about images.
        audit_path: where changes are written down.
        flags: the flags of the daemon.
        flag_values: their values, as the command line takes them.
        log_files: gives the files of the log, if there are any.
        survey_interval_s: how often own sizes are measured; 0: never.
    """

    opened: tuple[str, ...] = ()
    information: InformationTemplate = attrs.field(factory=_no_information)
    audit_path: Path = Path("/nonexistent")
    flags: FlagSet | None = None
    flag_values: Mapping[str, str] = attrs.field(factory=dict)
    log_files: Callable[[], LogFilesView | None] = lambda: None
    survey_interval_s: float = 0.0


@attrs.frozen
class Parts:
    """See the module.

    Attributes:
        source: the status.
        lookup: the images.
        renderer: makes pages of templates.
        host_name: the name of this machine.
        log: the log.
        metrics: all that is measured.
        surveyor: measures own sizes.
        sampler: what went on in the last hour.
        history: what was stored in the last month.
        options: how the pages are to be.
        now_s: the time.
    """

    source: StatusSource
    lookup: ImageLookup
    renderer: Renderer
    host_name: HostName
    log: LogLines
    metrics: MetricRegistry
    surveyor: Surveyor
    sampler: Sampler
    history: History
    options: WebOptions
    now_s: Callable[[], float]
