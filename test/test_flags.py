"""Go's flag syntax: command lines, flags files, usage."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageserver.errors import ConfigError
from imageserver.flags import (
    BOOL,
    DURATION,
    HOUR,
    INT,
    LIST,
    MICROSECOND,
    MILLISECOND,
    MINUTE,
    SECOND,
    SIZE,
    STRING,
    UINT,
    Flag,
    FlagSet,
    HelpRequested,
    UsageError,
)

FLAGS = FlagSet(
    [
        Flag("CAfile", STRING, "/etc/ssl/CA.pem", "trusted authorities", "Security"),
        Flag("debug", BOOL, False, "has no effect"),
        Flag("level", INT, -1, "how much is logged"),
        Flag("portNum", UINT, 6971, "where to listen"),
        Flag("timeout", DURATION, 15 * SECOND, "how long to wait"),
        Flag("quota", SIZE, 100 << 20, "how much to keep"),
        Flag("srpcTrustedUsers", LIST, (), "users who may do everything", "Security"),
    ]
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("+0", 0),
        ("300ms", 300 * MILLISECOND),
        ("1.5h", 90 * MINUTE),
        ("2h45m", 2 * HOUR + 45 * MINUTE),
        ("-1m0.5s", -(MINUTE + SECOND // 2)),
        ("+5us", 5 * MICROSECOND),
        ("5\u00b5s", 5 * MICROSECOND),
        ("5\u03bcs", 5 * MICROSECOND),
        (".5s", SECOND // 2),
        ("1.s", SECOND),
        ("1m1m", 2 * MINUTE),
        ("0.9999999999ns", 0),
        ("9223372036854775807ns", 2**63 - 1),
        ("-9223372036854775808ns", -(2**63)),
    ],
)
def test_duration(text, value) -> None:
    """A duration is the sum of its parts, in nanoseconds."""
    assert DURATION.parse(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (4 * MINUTE + 5_001 * MILLISECOND, "4m5.001s"),
        (5 * HOUR + 6 * MINUTE + 7_001 * MILLISECOND, "5h6m7.001s"),
        (8 * MINUTE + 1, "8m0.000000001s"),
        (24 * HOUR, "24h0m0s"),
        (-SECOND, "-1s"),
        (2**63 - 1, "2562047h47m16.854775807s"),
        (-(2**63), "-2562047h47m16.854775808s"),
    ],
)
def test_duration_shown(value, text) -> None:
    """A duration is shown as Go shows it."""
    assert DURATION.show(value) == text


@given(st.integers(-(2**63), 2**63 - 1))
def test_duration_round_trip(value) -> None:
    """What is shown for a duration is read as the same duration."""
    assert DURATION.parse(DURATION.show(value)) == value


@given(st.integers(0, 10**6), st.sampled_from([1, 1_000, SECOND, MINUTE, HOUR]))
def test_round_duration_round_trip(count, unit) -> None:
    """The same holds for durations that people write."""
    assert DURATION.parse(DURATION.show(count * unit)) == count * unit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("3K", 3 << 10),
        ("3KiB", 3 << 10),
        ("3kB", 3_000),
        ("3M", 3 << 20),
        ("3MB", 3_000_000),
        ("3GiB", 3 << 30),
        ("3GB", 3 * 10**9),
        ("3TiB", 3 << 40),
        ("3TB", 3 * 10**12),
        ("3P", 3 << 50),
        ("3PB", 3 * 10**15),
        ("3EiB", 3 << 60),
        ("3EB", 3 * 10**18),
    ],
)
def test_size(text, value) -> None:
    """A single letter is a power of 1024, a letter with B one of 1000."""
    assert SIZE.parse(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (1023, "1023B"),
        (1 << 10, "1KiB"),
        (10 << 20, "10MiB"),
        (1536 << 20, "1536MiB"),
        (5_000, "5kB"),
        (2 << 60, "2EiB"),
    ],
)
def test_size_shown(value, text) -> None:
    """A size is shown in the largest unit of which it is a multiple."""
    assert SIZE.show(value) == text


@given(st.integers(0, 2**64 - 1))
def test_size_round_trip(value) -> None:
    """What is shown for a size is read as the same size."""
    assert SIZE.parse(SIZE.show(value)) == value


@given(st.integers(0, 63), st.integers(0, 1))
def test_round_size_round_trip(power, more) -> None:
    """The same holds for powers of two and their neighbours."""
    assert SIZE.parse(SIZE.show((1 << power) + more)) == (1 << power) + more


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        *((BOOL, text, True) for text in ("1", "t", "T", "true", "TRUE", "True")),
        *((BOOL, text, False) for text in ("0", "f", "F", "false", "FALSE", "False")),
        (INT, "-1", -1),
        (INT, "+7", 7),
        (INT, "100", 100),
        (INT, "1001", 1001),
        (INT, "0x1f", 31),
        (INT, "0b11", 3),
        (INT, "0o17", 15),
        (INT, "017", 15),
        (INT, "-017", -15),
        (INT, "00", 0),
        (INT, "1_000", 1_000),
        (UINT, "18446744073709551615", 2**64 - 1),
        (STRING, "", ""),
        (STRING, "a=b", "a=b"),
        (LIST, "", ()),
        (LIST, "a", ("a",)),
        (LIST, "a,b", ("a", "b")),
    ],
)
def test_value(kind, text, value) -> None:
    """Each kind takes the texts that Go takes for it."""
    assert kind.parse(text) == value
    assert kind.parse(kind.show(value)) == value


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("-x", "flag provided but not defined: -x"),
        ("--x=1", "flag provided but not defined: -x"),
        ("-cafile=a", "flag provided but not defined: -cafile"),
        ("-CAfile", "flag needs an argument: -CAfile"),
        ("---level", "bad flag syntax: ---level"),
        ("-=1", "bad flag syntax: -=1"),
        ("--=1", "bad flag syntax: --=1"),
        ("-debug=yes", 'invalid boolean value "yes" for -debug: parse error'),
        ("-debug=", 'invalid boolean value "" for -debug: parse error'),
        ("-level=", 'invalid value "" for flag -level: parse error'),
        ("-level=a", 'invalid value "a" for flag -level: parse error'),
        ("-level= 1", 'invalid value " 1" for flag -level: parse error'),
        ("-level=1_", 'invalid value "1_" for flag -level: parse error'),
        ("-level=09", 'invalid value "09" for flag -level: parse error'),
        ("-level=1.5", 'invalid value "1.5" for flag -level: parse error'),
        ("-level=\u0663", 'invalid value "\u0663" for flag -level: parse error'),
        (
            "-level=9223372036854775808",
            'invalid value "9223372036854775808" for flag -level: value out of range',
        ),
        ("-portNum=-1", 'invalid value "-1" for flag -portNum: parse error'),
        ("-portNum=+1", 'invalid value "+1" for flag -portNum: parse error'),
        (
            "-portNum=18446744073709551616",
            'invalid value "18446744073709551616" for flag -portNum: '
            "value out of range",
        ),
        *(
            (
                f"-timeout={text}",
                f'invalid value "{text}" for flag -timeout: parse error',
            )
            for text in (
                *("", "-", "1", "s", ".s", "1d", "1h-1m", "--1s", "1 s", "1hs", "-.5"),
                *("1e3s", "9223372036854775808ns", "2562048h", "9" * 5_000 + "s"),
            )
        ),
        *(
            (f"-quota={text}", f'invalid value "{text}" for flag -quota: parse error')
            for text in ("", "-1", "1.5GiB", "1kb", "1kiB", "KiB", "1 K", "1KBB")
        ),
        ("-quota=16EiB", 'invalid value "16EiB" for flag -quota: value out of range'),
        ('-level=a"\\\n', r'invalid value "a\"\\\n" for flag -level: parse error'),
        ("-level=\udcff", r'invalid value "\xff" for flag -level: parse error'),
    ],
)
def test_bad_argument(argument, message) -> None:
    """What Go refuses is refused, with Go's text."""
    with pytest.raises(UsageError) as caught:
        FLAGS.parse([argument])
    assert str(caught.value) == message
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    ("argv", "given_values", "arguments"),
    [
        ([], {}, []),
        (["-level=2"], {"level": 2}, []),
        (["--level", "2"], {"level": 2}, []),
        (["-level", "-2", "a"], {"level": -2}, ["a"]),
        (["-CAfile="], {"CAfile": ""}, []),
        (["-CAfile", "--"], {"CAfile": "--"}, []),
        (["-CAfile=a=b"], {"CAfile": "a=b"}, []),
        (["-level=1", "-level=2"], {"level": 2}, []),
        (["-debug", "true"], {"debug": True}, ["true"]),
        (["-debug=T", "-debug=0"], {"debug": False}, []),
        (["--debug", "-", "-level=2"], {"debug": True}, ["-", "-level=2"]),
        (["-debug", "a", "-level=2"], {"debug": True}, ["a", "-level=2"]),
        (["-debug", "--", "-level=2"], {"debug": True}, ["-level=2"]),
        (["", "-level=2"], {}, ["", "-level=2"]),
        (["-srpcTrustedUsers=a,b"], {"srpcTrustedUsers": ("a", "b")}, []),
    ],
)
def test_command_line(argv, given_values, arguments) -> None:
    """Flags end at the first argument that is none; the last of several counts."""
    parsed = FLAGS.parse(argv)
    assert parsed.arguments == arguments
    assert parsed.given == set(given_values)
    assert parsed.values == FLAGS.defaults() | given_values


@pytest.mark.parametrize("argument", ["-h", "-help", "--help", "--h", "-h=1"])
def test_help(argument) -> None:
    """Help is asked for like a flag, among others and before errors behind it."""
    with pytest.raises(HelpRequested):
        FLAGS.parse(["-debug", argument, "-unknown"])


def test_help_is_not_an_argument() -> None:
    """What stands behind the flags does not ask for help."""
    assert FLAGS.parse(["a", "-h"]).arguments == ["a", "-h"]


def test_own_help_flag() -> None:
    """A program may have a flag of that name for something else."""
    flag_set = FlagSet([Flag("h", STRING, "", "host")])
    assert flag_set.parse(["-h", "a"]).values == {"h": "a"}


def test_duplicate() -> None:
    """Two flags of one name are a mistake in the program."""
    with pytest.raises(ValueError, match="same name"):
        FlagSet([*FLAGS.flags, FLAGS.flags[0]])


def test_values_are_not_shared() -> None:
    """Parsing changes neither the defaults nor the values it starts from."""
    values = FLAGS.defaults() | {"level": 5}
    parsed = FLAGS.parse(["-debug"], values)
    assert parsed.values == values | {"debug": True}
    assert values == FLAGS.defaults() | {"level": 5}


def test_flags_file() -> None:
    """A line sets a flag; blanks around, empty lines and comments do not count."""
    values = FLAGS.defaults()
    names = FLAGS.parse_file_text(
        "# comment\n; comment\n\n  \n"
        " level =  2 \r\n"
        'CAfile="a" = b\x0b c\n'
        "srpcTrustedUsers=\n"
        "debug=true",
        values,
    )
    assert names == {"level", "CAfile", "srpcTrustedUsers", "debug"}
    assert values == FLAGS.defaults() | {
        "level": 2,
        "CAfile": '"a" = b\x0b c',
        "debug": True,
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("debug", "bad line, cannot split name from value: debug"),
        ("a level=2", "bad line, name has whitespace: a level=2"),
        ("-level=2", "no such flag --level"),
        ("port=2", "no such flag -port"),
        ("=2", "no such flag -"),
        ("level=a", 'invalid value "a" for flag -level: parse error'),
        ("debug=", 'invalid boolean value "" for -debug: parse error'),
    ],
)
def test_bad_line(line, message) -> None:
    """Reading stops at a bad line; what stands before it has taken effect."""
    values = FLAGS.defaults()
    with pytest.raises(ConfigError) as caught:
        FLAGS.parse_file_text(f"level=7\n{line}\nportNum=1\n", values)
    assert str(caught.value) == message
    assert not isinstance(caught.value, UsageError)
    assert values == FLAGS.defaults() | {"level": 7}


def test_command_line_wins() -> None:
    """A flag of the command line replaces what a file says."""
    values = FLAGS.defaults()
    FLAGS.parse_file_text("level=1\nportNum=1\n", values)
    parsed = FLAGS.parse(["-level=2"], values)
    assert (parsed.values["level"], parsed.values["portNum"]) == (2, 1)
    assert parsed.given == {"level"}


def test_decode() -> None:
    """Flags get into the attributes that have the same letters."""

    @attrs.frozen
    class Settings:
        ca_file: str
        srpc_trusted_users: tuple[str, ...]
        _level: int

    parsed = FLAGS.parse(["-CAfile=a", "-srpcTrustedUsers=b"])
    assert FLAGS.decode(parsed.values, Settings) == Settings("a", ("b",), -1)


def test_decode_unknown_attribute() -> None:
    """An attribute without a flag is a mistake in the program."""

    @attrs.frozen
    class Settings:
        unknown: str

    with pytest.raises(KeyError):
        FLAGS.decode(FLAGS.defaults(), Settings)


def test_usage() -> None:
    """Every flag is described once, under its heading."""
    assert FLAGS.usage("serve", "FILE...") == (
        "Usage: serve [flags...] FILE...\n"
        "\n"
        "Security:\n"
        "  -CAfile string\n"
        '      trusted authorities (default "/etc/ssl/CA.pem")\n'
        "  -srpcTrustedUsers list\n"
        '      users who may do everything (default "")\n'
        "\n"
        "Flags:\n"
        "  -debug bool\n"
        "      has no effect (default false)\n"
        "  -level int\n"
        "      how much is logged (default -1)\n"
        "  -portNum uint\n"
        "      where to listen (default 6971)\n"
        "  -timeout duration\n"
        "      how long to wait (default 15s)\n"
        "  -quota size\n"
        "      how much to keep (default 100MiB)\n"
    )


def test_usage_is_narrow() -> None:
    """Long texts are wrapped to fit a terminal."""
    flag_set = FlagSet([Flag("a", STRING, "", "word " * 100)])
    usage = flag_set.usage("serve")
    assert usage.startswith("Usage: serve [flags...]\n")
    assert max(map(len, usage.splitlines())) <= 79
