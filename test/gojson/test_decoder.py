"""JSON to values, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageserver import gob, gojson
from imageserver.errors import GobTypeError, JsonDecodeError
from imageserver.gob import Limits, Time
from imageserver.model.image import Image
from imageserver.model.image_messages import (
    AddImageRequest,
    AddScannedImageRequest,
    ChangeImageExpirationRequest,
    CheckImageRequest,
    DeleteUnreferencedObjectsRequest,
    FindLatestImageRequest,
    GetImageRequest,
    RestoreImageFromArchiveRequest,
)
from imageserver.model.inode import INODE, RegularInode, SymlinkInode
from imageserver.model.object_messages import CheckObjectsRequest
from imageserver.testing import make_image

HASH = "5a" * 64
IMAGE = make_image({"etc/a": b"a", "etc/b/c": b"cc", "empty": b""})


def refuse(text: str, type_: type | gob.Type, limits: Limits = gob.DEFAULT_LIMITS):
    """The error that a text is refused with."""
    with pytest.raises(JsonDecodeError) as caught:
        gojson.decode(text.encode(), type_, limits)
    return caught.value


def test_names_in_any_letter_case() -> None:
    """Members count in any letter case, unknown ones do not, the last one wins."""
    text = b' {"imagename" : "a", "other":[{"x":[null,true,-1.5e3]}],"IMAGENAME":"b"} '
    assert gojson.decode(text, CheckImageRequest) == CheckImageRequest("b")


def test_null_is_zero() -> None:
    """Null stands for the zero value of whatever is wanted, and for nil."""
    text = b'{"ImageName":null,"Image":null}'
    assert gojson.decode(text, AddImageRequest) == AddImageRequest("", None)
    text = b'{"TagsToMatch":{"a":null,"b":[]},"IgnoreExpiringImages":null}'
    value = gojson.decode(text, FindLatestImageRequest)
    assert value.tags_to_match == {"a": (), "b": ()}
    assert gojson.decode(b'{"Hashes":null}', CheckObjectsRequest).hashes == ()


def test_strings() -> None:
    """Escapes are undone; what is no character becomes U+FFFD, never a raw byte."""
    text = b'{"ImageName":"\\u00e4\\n\\ud83d\\ude00 \\udc80 \xff\xc3\xa4"}'
    value = gojson.decode(text, CheckImageRequest)
    assert value.image_name == "ä\n\U0001f600 \ufffd \ufffdä"
    assert value.image_name.encode()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"ImageName":x}', "character 'x'"),
        ('{"ImageName":"a}', "Unterminated string"),
        ('{"ImageName":"a" "b"}', "character '\"'"),
        ('{"ImageName" "b"}', "character '\"'"),
        ('{"ImageName":"a",}', "character '}'"),
        ("{,}", "character ','"),
        ('{"ImageName":"a\nb"}', "control character"),
        ('{"ImageName":"a"}}', "character '}'"),
        ('{"ImageName":"a"} null', "character 'n'"),
        ('{"other":tru}', "character 't'"),
        ('{"other":-}', "character '-'"),
        ('{"other":[1,]}', "character ']'"),
        ('{"other":01}', "character '1'"),
        ('{"ImageName"', "end at"),
        ("", "end at 0"),
    ],
)
def test_malformed(text: str, part: str) -> None:
    """What is not JSON is refused, and nobody relies on where it ends."""
    error = refuse(text, CheckImageRequest)
    assert part in str(error)
    assert not error.in_step


@pytest.mark.parametrize(
    ("text", "type_", "message"),
    [
        (
            '{"ImageName":5}',
            CheckImageRequest,
            "CheckImageRequest.ImageName: string wanted, not number",
        ),
        ('{"IgnoreFilesystem":"x"}', GetImageRequest, "bool wanted, not string"),
        ('{"Timeout":true}', GetImageRequest, "number wanted, not bool"),
        ('{"Timeout":1.5}', GetImageRequest, "whole number wanted, not 1.5"),
        ('{"Timeout":1e3}', GetImageRequest, "whole number wanted, not 1e3"),
        ('{"Timeout":9223372036854775808}', GetImageRequest, "out of range"),
        (f'{{"Timeout":{"9" * 5000}}}', GetImageRequest, "number out of range: 999"),
        ('{"Percentage":256}', DeleteUnreferencedObjectsRequest, "out of range: 256"),
        ('{"Bytes":-1}', DeleteUnreferencedObjectsRequest, "out of range: -1"),
        ('{"Hashes":{}}', CheckObjectsRequest, "array wanted, not object"),
        ('{"Hashes":["00"]}', CheckObjectsRequest, "128 hexadecimal digits wanted"),
        (f'{{"Hashes":["{"AB" * 64}"]}}', CheckObjectsRequest, "in lower case"),
        (f'{{"Hashes":["{"a " * 64}"]}}', CheckObjectsRequest, "128 hexadecimal"),
        ('{"TagsToMatch":[]}', FindLatestImageRequest, "object wanted, not array"),
        ('{"ArchiveData":"?"}', RestoreImageFromArchiveRequest, "malformed base64"),
        ('{"ExpiresAt":"1"}', ChangeImageExpirationRequest, "malformed time"),
        (
            '{"ExpiresAt":"2030-02-30T00:00:00Z"}',
            ChangeImageExpirationRequest,
            "malformed time: day",
        ),
        ("[]", CheckImageRequest, "object wanted, not array"),
        (
            '{"Image":{"FileSystem":{"InodeTable":{"x":{"Symlink":"a"}}}}}',
            AddImageRequest,
            "whole number wanted, not x",
        ),
        (
            '{"Image":{"FileSystem":{"InodeTable":{"1":{"Mode":1,"Uid":1}}}}}',
            AddImageRequest,
            "cannot tell what has the members ['mode', 'uid']",
        ),
        (
            '{"Image":{"FileSystem":{"InodeTable":{"1":5}}}}',
            AddImageRequest,
            "object wanted, not number",
        ),
    ],
)
def test_something_else(text: str, type_: type, message: str) -> None:
    """JSON of another type is refused with the place; the stream stays in step."""
    error = refuse(text, type_)
    assert message in str(error)
    assert error.in_step


def test_limits() -> None:
    """Depth and elements are bounded, also where nobody wants the value."""
    few = Limits(elements=4, depth=3)
    assert gojson.decode(b'{"x":[[1,2]]}', CheckImageRequest, few)
    assert "nest too deep" in str(refuse('{"x":[[[1]]]}', CheckImageRequest, few))
    assert "too many" in str(refuse('{"x":[1,2,3,4]}', CheckImageRequest, few))
    deep = '{"x":' + "[" * 100_000
    assert "nest too deep" in str(refuse(deep, CheckImageRequest))


def test_inodes_by_their_members() -> None:
    """An inode is of the type that has its members; unknown ones do not count."""
    text = f'{{"Mode":33188,"Size":3,"Hash":"{HASH}","New":1}}'.encode()
    inode = gojson.decode(text, INODE)
    assert inode == RegularInode(mode=33188, size=3, hash_=bytes.fromhex(HASH))
    text = b'{"symlink":"\xc3\xa4"}'
    assert gojson.decode(text, INODE) == SymlinkInode(target="ä".encode())
    assert gojson.decode(b"null", INODE) is None


def test_image_is_scanned() -> None:
    """An image that comes as JSON is the same for the server as one in gob."""
    request = AddImageRequest("dir/name", IMAGE)
    data = gob.Encoder().encode(request)
    expected = gob.decode(data, AddScannedImageRequest).value
    found = gojson.decode(gojson.encode(request), AddScannedImageRequest)
    assert found.image_name == expected.image_name
    theirs, ours = expected.image.file_system, found.image.file_system
    assert ours.root == theirs.root
    assert ours.inodes.objects == theirs.inodes.objects
    assert ours.inodes.numbers == theirs.inodes.numbers
    assert ours.inodes.encoded == theirs.inodes.encoded


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("0001-01-01T00:00:00Z", Time.ZERO),
        ("1970-01-01T00:00:00Z", Time(0)),
        ("2030-01-02T03:04:05.5+01:00", Time(1893549845, 500_000_000, 3600)),
        ("1969-12-31T18:59:59.000000001-05:00", Time(-1, 1, -18_000)),
        ("9999-12-31T23:59:59.999999999Z", Time(253402300799, 999_999_999)),
    ],
)
def test_time(text: str, time: Time) -> None:
    """A time is the recorded instant in its zone, and is written as it was."""
    assert gojson.decode(f'"{text}"'.encode(), gob.TIME) == time
    assert gojson.encode(time, gob.TIME).decode() == f'"{text}"'


@given(
    st.integers(-62_135_596_800 + 86_400, 253_402_300_799 - 86_400),
    st.integers(0, 999_999_999),
    st.none() | st.integers(-23 * 60, 23 * 60).map(lambda minutes: minutes * 60),
)
def test_any_time(unix_s: int, nanosecond: int, offset_s: int | None) -> None:
    """Any time of these years comes back as it was written."""
    time = Time(unix_s, nanosecond, offset_s)
    found = gojson.decode(gojson.encode(time, gob.TIME), gob.TIME)
    assert found.instant == time.instant
    assert (found.offset_s or 0) == (offset_s or 0)


def test_times_without_a_form() -> None:
    """A zone with seconds becomes UTC; years that RFC 3339 has not are refused."""
    assert gojson.encode(Time(0, 0, 28_378), gob.TIME) == b'"1970-01-01T00:00:00Z"'
    for unix_s in (253_402_300_800, -62_135_596_801):
        with pytest.raises(GobTypeError, match="out of range"):
            gojson.encode(Time(unix_s), gob.TIME)
    for text in ("2030-01-01T24:00:00Z", "2030-01-01T00:00:00+24:00", "0000-01-01T00"):
        refuse(f'"{text}"', gob.TIME)


def test_values_without_a_form() -> None:
    """What does not fit its type, or has no form in JSON, is refused."""
    for value, type_ in (
        (1.5, gob.INT),
        (None, gob.UINT),
        ("a", gob.BYTES),
        (1, gob.STRING),
        (1.5, gob.FLOAT),
        (5, INODE),
        (CheckImageRequest(5), CheckImageRequest),
        (CheckImageRequest("a"), Image),
    ):
        with pytest.raises(GobTypeError):
            gojson.encode(value, type_)


TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
    ),
    max_leaves=20,
)


@given(st.binary(max_size=200) | TEXTS.map(lambda value: repr(value).encode()))
def test_any_bytes(data: bytes) -> None:
    """Whatever the bytes, the outcome is a value or the one error."""
    try:
        gojson.decode(data, AddImageRequest)
    except JsonDecodeError:
        pass


@given(st.data())
def test_mutated_images(data) -> None:
    """An image with some bytes changed is a value or the one error."""
    text = bytearray(gojson.encode(AddImageRequest("dir/name", IMAGE)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(text) - 1))
        text[position] = data.draw(st.sampled_from(b'{}[]",:\\0a\xff '))
    try:
        gojson.decode(bytes(text), AddScannedImageRequest)
    except JsonDecodeError:
        pass


def test_empty_things() -> None:
    """Maps and pointers may be null; slices and strings are empty, never null."""
    found = gojson.encode(FindLatestImageRequest(tags_to_match={"b": (), "a": ("x",)}))
    assert b'"TagsToMatch":{"a":["x"],"b":[]}' in found
    assert b'"TagsToMatch":null' in gojson.encode(FindLatestImageRequest())
    assert gojson.encode(AddImageRequest()) == b'{"ImageName":"","Image":null}'
    assert gojson.encode(None, INODE) == b"null"
    assert gojson.encode(CheckObjectsRequest()) == b'{"Hashes":[]}'


def test_what_browsers_might_take_for_markup() -> None:
    """Angle brackets, ampersands and line separators are escaped as Go does."""
    found = gojson.encode(CheckImageRequest("<a>&\u2028\u2029\x7f\udc80\t"))
    expected = b"\\u003ca\\u003e\\u0026\\u2028\\u2029\x7f\xef\xbf\xbd\\t"
    assert found == b'{"ImageName":"%s"}' % expected
