"""Patterns of methods, and who may call what."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imageserver.srpc import access
from imageserver.srpc.access import (
    ANONYMOUS,
    Caller,
    Identity,
    Policy,
    has_method_access,
    pattern_matches,
)


@pytest.fixture(autouse=True)
def forget() -> None:
    """What was found out in one test is found out anew in the next."""
    access._compile.cache_clear()
    access._any_matches.cache_clear()


# From the rules and the tests of Go's path/filepath, for names without separators.
MATCHES = [
    ("[a]", "X", False),
    ("[ab]", "X", False),
    ("[z-a]", "X", False),
    ("[^z-a]b", "xb", True),
    ("[^z-a]b", "x", False),
    ("[^a]", "^", True),
    ("[^a]", "[", True),
    ("[a-]b]", "b", False),
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "abc", True),
    ("a*", "ab/c", False),
    ("a*/b", "abc/b", True),
    ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "ab", False),
    ("a?b", "a\u263ab", True),
    ("a[^a]b", "a\u263ab", True),
    ("a???b", "a\u263ab", False),
    ("a[^a][^a][^a]b", "a\u263ab", False),
    ("[a-\u03b6]*", "\u03b1", True),
    ("*[a-\u03b6]", "A", False),
    ("a?b", "a/b", False),
    ("a*b", "a/b", False),
    ("[\\]a]", "]", True),
    ("[\\-]", "-", True),
    ("[x\\-]", "x", True),
    ("[x\\-]", "-", True),
    ("[x\\-]", "z", False),
    ("[\\-x]", "a", False),
    ("[]a]", "]", False),
    ("[-]", "-", False),
    ("[x-]", "x", False),
    ("[x-]", "-", False),
    ("[-x]", "x", False),
    ("[a-b-c]", "a", False),
    ("[", "a", False),
    ("[^", "a", False),
    ("[^bc", "a", False),
    ("a[", "a", False),
    ("a[", "ab", False),
    ("a[", "x", False),
    ("a/b[", "x", False),
    ("*x", "xxx", True),
    ("\\", "\\", False),
    ("a\\", "a\\", False),
    ("[\\", "\\", False),
    ("[a\\", "a", False),
    ("", "", True),
    ("", "a", False),
    ("[z-a]", "m", False),
    ("[^z-a]", "m", True),
    ("[^z-a]", "/", True),
    ("[^a]", "/", True),
    ("[/]", "/", True),
    ("[\u0000-\uffff]", "a", True),
    # What other languages take for something else.
    ("[!a]", "!", True),
    ("[!a]", "b", False),
    ("{a,b}", "a", False),
    ("**", "a.b", True),
    ("a.c", "abc", False),
    ("a+", "aa", False),
    ("(a)", "a", False),
    ("^a$", "a", False),
    ("a|b", "a", False),
    ("[[:alpha:]]", "a", False),
    ("[[:alpha:]]", ":]", True),
    ("[a&&b]", "&", True),
    ("\\d", "d", True),
    ("\\d", "1", False),
    ("*", "a\nb", True),
    ("a", "a\n", False),
    # Methods.
    ("*.*", "ImageServer.CheckImage", True),
    ("*", "ImageServer.CheckImage", True),
    ("Image*.Get*", "ImageServer.GetImage", True),
    ("ImageServer.*", "ImageServer.GetImage", True),
    ("ImageServer.*", "ImageServerX.GetImage", False),
    ("ImageServer.Get", "ImageServer.GetImage", False),
    ("imageserver.*", "ImageServer.GetImage", False),
    ("*" * 2000, "a.b", False),
]


@pytest.mark.parametrize(("pattern", "name", "matches"), MATCHES)
def test_pattern(pattern: str, name: str, matches: bool):
    """Patterns have the rules of Go's ``filepath.Match``, for the whole name."""
    assert pattern_matches(pattern, name) is matches


def test_long_lists_cost_once():
    """Whether a method is permitted is found out once, however many patterns say no."""
    identity = Identity("user", methods=tuple(f"A.m{n}" for n in range(1_000)))

    def seconds() -> float:
        began = time.process_time()
        assert not has_method_access(Policy(), identity, True, "B.method")
        return time.process_time() - began

    first = seconds()
    assert min(seconds() for _ in range(5)) < first / 10


@settings(deadline=None)
@given(st.text(alphabet="ab*?[]^-\\./é", max_size=12), st.text("ab./-^]é", max_size=8))
def test_pattern_agrees_with_the_plain_rules(pattern: str, name: str):
    """The translation matches what a direct reading of the rules matches."""
    assert pattern_matches(pattern, name) is _plain_match(pattern, name)


def _plain_match(pattern: str, name: str) -> bool:
    try:
        return _match_tokens(_tokens(pattern), name)
    except IndexError:
        return False


def _match_tokens(tokens: list, name: str) -> bool:
    if not tokens:
        return not name
    first, rest = tokens[0], tokens[1:]
    if first == "*":
        return any(
            "/" not in name[:n] and _match_tokens(rest, name[n:])
            for n in range(len(name) + 1)
        )
    return bool(name) and first(name[0]) and _match_tokens(rest, name[1:])


def _tokens(pattern: str) -> list:
    """One test for each character; ``IndexError`` if malformed."""
    tokens: list = []
    left = list(pattern)
    while left:
        c = left.pop(0)
        if c == "*":
            tokens.append("*")
        elif c == "?":
            tokens.append(lambda x: x != "/")
        elif c == "[":
            tokens.append(_class_of(left))
        else:
            wanted = left.pop(0) if c == "\\" else c
            tokens.append(lambda x, wanted=wanted: x == wanted)
    return tokens


def _class_of(left: list[str]):
    negated = left[0] == "^"
    if negated:
        left.pop(0)
    ranges: list[tuple[str, str]] = []
    while left[0] != "]" or not ranges:
        low = high = _one(left)
        if left[0] == "-":
            left.pop(0)
            high = _one(left)
        ranges.append((low, high))
    left.pop(0)
    return lambda x: any(low <= x <= high for low, high in ranges) != negated


def _one(left: list[str]) -> str:
    c = left.pop(0)
    if c in "-]":
        raise IndexError
    return left.pop(0) if c == "\\" else c


# --- the decision ---------------------------------------------------------------

METHOD = "ImageServer.DeleteImage"
TRUSTING = Policy(trusted_users=frozenset({"root"}), trusted_groups=frozenset({"ops"}))
INSECURE = Policy(insecure=True)


@pytest.mark.parametrize(
    ("policy", "identity", "powers", "access"),
    [
        (INSECURE, ANONYMOUS, True, True),
        (INSECURE, ANONYMOUS, False, False),
        (Policy(), ANONYMOUS, True, False),
        (Policy(), Identity("u", methods=("*.*",)), True, True),
        (Policy(), Identity("u", methods=("*.*",)), False, False),
        (Policy(), Identity("u", methods=("X.Y", "ImageServer.D*")), True, True),
        (Policy(), Identity("u", methods=("ImageServer.Get*",)), True, False),
        (Policy(), Identity("u", methods=("[",)), True, False),
        (TRUSTING, Identity("root"), True, True),
        (TRUSTING, Identity("root"), False, False),
        (TRUSTING, Identity("Root"), True, False),
        (TRUSTING, Identity("u", frozenset({"dev", "ops"})), True, True),
        (TRUSTING, Identity("u", frozenset({"ops"})), False, False),
        (TRUSTING, Identity("u", frozenset({"dev"})), True, False),
        (TRUSTING, Identity("", frozenset({"ops"})), True, False),
        (Policy(trusted_users=frozenset({""})), ANONYMOUS, True, False),
    ],
)
def test_method_access(policy: Policy, identity: Identity, powers: bool, access: bool):
    """Who has power over a method, whatever the method: rows 1 to 4 and 9."""
    assert has_method_access(policy, identity, powers, METHOD) is access


def test_caller():
    """A caller is called what its identity says."""
    assert Caller(Identity("alice"), has_method_access=True).user == "alice"
    assert Caller(ANONYMOUS, has_method_access=False).user == ""
