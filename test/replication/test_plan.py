"""What is to be done, in which order, and what is done when it fails."""

from __future__ import annotations

import pytest

from imageserver.images.changes import Operation
from imageserver.images.replica import Inventory
from imageserver.model.filter import Matcher
from imageserver.model.image import Directory, DirectoryMetadata
from imageserver.model.image_messages import ImageUpdate
from imageserver.replication.plan import IMAGES_AT_ONCE, Plan
from imageserver.replication.rules import Rules
from imageserver.replication.task import Kind, Task

MARK = ImageUpdate()
NOTHING = Inventory({".": ""}, {})
EVERYTHING = Inventory(
    {".": "", "a": "", "a/b": "", "c": ""}, {"a/x": False, "a/b/y": False, "e": True}
)


def made(name: str, group: str = "") -> ImageUpdate:
    """A directory was made."""
    return ImageUpdate(
        "", Directory(name, DirectoryMetadata(group)), Operation.MAKE_DIRECTORY
    )


def deleted(name: str) -> ImageUpdate:
    """An image was deleted."""
    return ImageUpdate(name, operation=Operation.DELETE_IMAGE)


def removed(name: str) -> ImageUpdate:
    """A directory was removed."""
    return ImageUpdate(name, operation=Operation.DELETE_DIRECTORY)


def plan_of(
    *updates: ImageUpdate, inventory: Inventory = NOTHING, rules: Rules | None = None
) -> Plan:
    """A plan that has heard something."""
    plan = Plan(rules or Rules(), lambda: 1.0)
    plan.begin(inventory)
    for update in updates:
        plan.hear(update, 0.0)
    return plan


def take(plan: Plan, now_s: float = 0.0) -> list[Task]:
    """All that may be done at once."""
    tasks = []
    while (task := plan.next(now_s)) is not None:
        tasks.append(task)
    return tasks


def finish(plan: Plan, now_s: float = 0.0) -> list[tuple[str, str]]:
    """Do everything, one thing after the other; what was done."""
    done = []
    while (task := plan.next(now_s)) is not None:
        done.append((task.kind.value, task.name))
        plan.succeed(task)
    return done


MAKE, ADD, DELETE, REMOVE = [kind.value for kind in Kind]


@pytest.mark.parametrize(
    ("updates", "inventory", "rules", "expected"),
    [
        (
            [made("."), made("a", "staff"), made("a/b"), ImageUpdate("a/x"), MARK],
            NOTHING,
            Rules(),
            [(MAKE, "a"), (MAKE, "a/b"), (ADD, "a/x")],
        ),
        (
            [made("."), made("a"), ImageUpdate("a/x"), ImageUpdate("e"), MARK],
            EVERYTHING,
            Rules(),
            [(ADD, "e"), (DELETE, "a/b/y"), (REMOVE, "a/b"), (REMOVE, "c")],
        ),
        ([made(".")], EVERYTHING, Rules(), []),  # the list is not complete
        ([made("."), MARK], EVERYTHING, Rules(archives=True), []),
        (
            [made("."), MARK, ImageUpdate("n"), deleted("n"), removed("a")],
            NOTHING,
            Rules(archives=True),
            [],
        ),
        (
            [made("."), ImageUpdate("skip/me"), ImageUpdate("n"), MARK],
            Inventory({".": ""}, {"skip/old": False}),
            Rules(exclude=Matcher(["skip/"])),
            [(ADD, "n"), (DELETE, "skip/old")],
        ),
        (
            [made("."), ImageUpdate("only/me"), ImageUpdate("n"), MARK],
            NOTHING,
            Rules(exclude=Matcher(["only/not"]), include=Matcher(["only/"])),
            [(ADD, "only/me")],
        ),
        (
            [ImageUpdate("old"), ImageUpdate("new"), ImageUpdate("timed"), MARK],
            Inventory({".": ""}, {"old": False, "timed": True}),
            Rules(include=Matcher(["nothing"]), on_demand=True),
            [(ADD, "timed")],
        ),
        (
            [MARK, ImageUpdate("n"), deleted("n"), ImageUpdate("n")],
            NOTHING,
            Rules(),
            [(ADD, "n")],
        ),
        (
            [MARK, made("d"), made("d", "staff"), removed("d")],
            NOTHING,
            Rules(),
            [(REMOVE, "d")],
        ),
        (
            [made("."), made("a", "staff"), MARK],
            Inventory({".": "", "a": "ops"}, {}),
            Rules(),
            [(MAKE, "a")],
        ),
    ],
)
def test_what_is_done(updates, inventory, rules, expected) -> None:
    """The right things are done, and in the right order."""
    plan = plan_of(*updates, inventory=inventory, rules=rules)
    found = finish(plan)
    assert sorted(found) == sorted(expected)
    order = [kind for kind, _ in found]
    assert order == sorted(order, key=[MAKE, ADD, DELETE, REMOVE].index)
    depths = [name.count("/") for kind, name in found if kind == REMOVE]
    assert depths == sorted(depths, reverse=True)
    assert plan.is_done is (MARK in updates)


def test_some_at_a_time() -> None:
    """Directories come first, then some images at a time; the last word counts."""
    names = [f"n{number}" for number in range(IMAGES_AT_ONCE + 2)]
    plan = plan_of(made("."), made("a"), *map(ImageUpdate, names), MARK)
    (make,) = take(plan)
    assert make.kind is Kind.MAKE
    plan.succeed(make)
    running = take(plan)
    assert [task.name for task in running] == names[:IMAGES_AT_ONCE]
    plan.hear(deleted(names[0]), 1.0)
    assert take(plan) == []  # not while it is being brought
    plan.succeed(running[0])
    assert [(t.kind, t.name) for t in take(plan)] == [
        (Kind.BRING, names[IMAGES_AT_ONCE]),
        (Kind.DELETE, names[0]),
    ]
    assert not plan.is_done


def test_failures() -> None:
    """What fails waits, ever longer, and is shown; a new session remembers it."""
    plan = plan_of(ImageUpdate("bad"), ImageUpdate("good"), MARK)
    bad, good = take(plan)
    plan.fail(bad, "no space", 10.0, refused=False)
    plan.succeed(good)
    assert plan.wake_s() == 11.0
    assert take(plan, 10.9) == []
    (again,) = take(plan, 11.0)
    plan.fail(again, "no space", 11.0, refused=False)
    assert plan.wake_s() == 13.0
    assert not plan.is_done
    plan.begin(NOTHING)
    assert [(task.name, task.attempts) for task in plan.failures()] == [("bad", 2)]
    for update in (ImageUpdate("bad"), MARK):
        plan.hear(update, 12.0)
    assert take(plan, 12.0) == []
    (again,) = take(plan, 13.0)
    assert again.since_s == 0.0
    plan.fail(again, "invalid image", 13.0, refused=True)
    assert plan.is_done  # there is no more that can be done
    plan.hear(deleted("bad"), 14.0)
    assert finish(plan, 14.0) == [(DELETE, "bad")]
    assert plan.failures() == []


def test_late_outcomes() -> None:
    """What was begun in another session does not count."""
    plan = plan_of(ImageUpdate("n"), MARK)
    (old,) = take(plan)
    plan.begin(NOTHING)
    plan.hear(ImageUpdate("n"), 1.0)
    plan.fail(old, "cut off", 1.0, refused=False)
    plan.succeed(old)
    (new,) = take(plan, 1.0)
    assert new is not old
    plan.forget(new)
    plan.fail(new, "gone", 1.0, refused=False)  # nobody wants it any more
    assert list(plan.todo()) == []


def test_hold() -> None:
    """An image that a client adds is left alone until that has ended."""
    plan = plan_of(MARK, ImageUpdate("before"))
    for name in ("before", "held"):
        plan.hold(name)
    plan.hear(ImageUpdate("held"), 1.0)
    assert take(plan) == []
    assert not plan.is_done
    plan.release("before")
    plan.release("held")
    plan.release("unknown")
    assert [task.name for task in take(plan)] == ["before", "held"]


def test_hurry() -> None:
    """What somebody waits for comes first, if the master has it at all."""
    names = [f"n{number}" for number in range(IMAGES_AT_ONCE + 2)]
    rules = Rules(exclude=Matcher(["left/out"]), on_demand=True)
    plan = plan_of(*map(ImageUpdate, [*names, "left/out"]), MARK, rules=rules)
    running = take(plan)
    assert plan.hurry(names[-1], 1.0)
    assert plan.hurry("left/out", 2.0)
    assert not plan.hurry("unknown", 1.0)
    assert plan.hurry(running[0].name, 1.0)
    for task in running[:3]:
        plan.succeed(task)
    assert [t.name for t in take(plan)] == ["left/out", names[-1], names[-2]]
