"""Own sizes of images and directories."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from web.serving import make_server

from imageserver.errors import StoreError
from imageserver.testing import InlineWorker, make_image
from imageserver.web.space_survey import Surveyor, common_owner
from imageserver.web.surveys import Surveys

_NAMES = st.sampled_from(["a/x", "a/y", "a/b/x", "a/b/c/x", "d/x", "x", "ab/x"])


@given(st.lists(_NAMES, min_size=1, max_size=6))
def test_owners(names: list[str]) -> None:
    """An object belongs to the lowest directory that all its images are below."""
    owner = None
    for name in names:
        owner = common_owner(owner, name)
    if len(set(names)) == 1:
        assert owner == names[0]
        return
    parents = [set(map(str, PurePosixPath(name).parents)) for name in names]
    deepest = max(set.intersection(*parents), key=lambda it: (it != ".", it.count("/")))
    assert owner == f"{deepest}/"


@given(
    st.dictionaries(
        _NAMES, st.sets(st.integers(0, 9), min_size=1, max_size=4), min_size=1
    )
)
@settings(max_examples=15, deadline=None)
def test_sums(tmp_path_factory, images: dict[str, set[int]]) -> None:
    """The sums are what counting one by one gives."""
    server = make_server(tmp_path_factory.mktemp("survey"))
    contents = {number: b"%d" % number * (number + 1) for number in range(10)}
    for name, numbers in images.items():
        files = {str(number): contents[number] for number in numbers}
        server.add(name, make_image(files), files.values())
    surveyor = server.web.parts.surveyor
    assert len(list(surveyor.steps())) == len(images)
    assert surveyor.latest is not None
    for name, numbers in images.items():
        others = set().union(*(it for n, it in images.items() if n != name))
        own = sum(len(contents[number]) for number in numbers - others)
        assert surveyor.latest.images[name] == own
    for directory in server.index.directories():
        prefix = "" if directory == "." else f"{directory}/"
        inside = [it for n, it in images.items() if n.startswith(prefix)]
        outside = [it for n, it in images.items() if not n.startswith(prefix)]
        own_numbers = set().union(*inside) - set().union(*outside)
        own = sum(len(contents[number]) for number in own_numbers)
        assert surveyor.latest.directories[directory] == own
    server.index.close()


def test_damaged_image(tmp_path: Path) -> None:
    """A damaged image is left out, and told of."""
    server = make_server(tmp_path)
    for name in ("a", "b"):
        server.add(name, make_image({"x": b"x"}), [b"x"])
    server.database.path("a").unlink()
    with capturedLogs() as events:
        list(server.web.parts.surveyor.steps())
    assert len(events) == 1
    assert server.web.parts.surveyor.latest is not None
    assert server.web.parts.surveyor.latest.images == {"b": 1}
    server.index.close()


class Counted(Surveyor):
    """A surveyor that only counts.

    Attributes:
        taken: steps so far.
        is_failing: whether the next one fails.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.is_failing = False

    def steps(self):
        """See ``Surveyor``."""
        for _ in range(3):
            if self.is_failing:
                raise StoreError("no index")
            self.taken += 1
            yield


def test_in_the_background() -> None:
    """A survey is made after a while, then again; at the end it stops."""
    clock, surveyor = Clock(), Counted()
    surveys = Surveys(clock, surveyor, InlineWorker(), 1000.0)
    surveys.startService()
    assert surveyor.taken == 0
    clock.advance(60)
    clock.pump([0] * 5)
    assert surveyor.taken == 3
    surveyor.is_failing = True
    with capturedLogs() as events:
        clock.advance(1000)
    assert events[0]["log_failure"].check(StoreError)
    surveyor.is_failing = False
    clock.advance(1000)
    clock.pump([0] * 5)
    assert surveyor.taken == 6
    ended: list[object] = []
    surveys.stopService().addCallback(ended.append)
    assert ended == [None]
    assert not clock.calls


def test_never() -> None:
    """Who wants no surveys gets none."""
    clock, surveyor = Clock(), Counted()
    surveys = Surveys(clock, surveyor, InlineWorker(), 0)
    surveys.startService()
    clock.advance(1e6)
    assert (surveyor.taken, surveys.stopService()) == (0, None)
