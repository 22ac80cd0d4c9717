"""Properties of reading a blob in pieces: the same records as at once, or an error."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.errors import RetryError
from audit_feed.records.elements import Element
from audit_feed.records.json_records import Sizes, json_records
from connector.made import record

AWKWARD = ['"', "\\", "]", "}", "[", "{", ",", ":", "\n", "ü", "😀", "\\u005d", " ", "\x00", "a"]
TEXT = st.lists(st.sampled_from(AWKWARD), max_size=8).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
LISTS = st.lists(st.dictionaries(TEXT, VALUES, max_size=3), max_size=8)
SIZES = st.builds(Sizes, st.integers(0, 60), st.integers(1, 60))
SMALL = Sizes(whole=0, piece=1)
SPACED = orjson.OPT_INDENT_2


@st.composite
def cut_up(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Return a blob's text and a cut of it, empty chunks too."""
    text = orjson.dumps(draw(LISTS), option=draw(st.sampled_from([0, SPACED])))
    text = draw(st.sampled_from([b"", b" \r\n\t"])) + text + draw(st.sampled_from([b"", b" \n"]))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    ends = [0, *cuts, len(text)]
    return text, [text[a:b] for a, b in pairwise(ends)]


@given(cut_up(), SIZES)
def test_any_cut_gives_the_records_that_parsing_at_once_gives(
    cut: tuple[bytes, list[bytes]], sizes: Sizes
) -> None:
    text, chunks = cut

    assert list(json_records("blob", chunks, sizes)) == orjson.loads(text)
    assert list(json_records("blob", chunks)) == orjson.loads(text)


def read_until_error(chunks: Iterable[bytes], sizes: Sizes) -> list[Element]:
    """Return what came before the error; without one the test fails."""
    got: list[Element] = []
    with pytest.raises(RetryError):
        got.extend(json_records("blob", chunks, sizes))
    return got


@given(LISTS.filter(bool), SIZES, st.data())
def test_a_body_that_ends_too_early_is_never_taken_for_a_whole_one(
    found: list[dict[str, object]], sizes: Sizes, data: st.DataObject
) -> None:
    text = orjson.dumps(found)
    short = text[: data.draw(st.integers(0, len(text) - 1))]

    assert read_until_error([short], sizes) == []


def test_a_body_cut_at_every_byte_is_an_error_with_every_reader() -> None:
    found = [{"a": 'x"]}\\', "b": [1, {"c": "ü😀"}]}, {"d": None}, {}]
    text = orjson.dumps(found)
    for end in range(len(text)):
        for sizes in (Sizes(), SMALL, Sizes(whole=0, piece=20)):
            assert read_until_error(one_by_one(text[:end]), sizes) == []


def one_by_one(text: bytes) -> Iterator[bytes]:
    return (text[n : n + 1] for n in range(len(text)))


@pytest.mark.parametrize("sizes", [Sizes(), SMALL, Sizes(whole=0, piece=1_000)])
@pytest.mark.parametrize("whole", [True, False], ids=["one chunk", "byte by byte"])
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{}",
        b'{"a":[{"b":1}]}',
        b'"text"',
        b"null",
        b"<html>busy</html>",
        b"[",
        b"]",
        b"[]]",
        b"[][]",
        b"[],",
        b"[{}",
        b"[{}]]",
        b"[{}}",
        b"[{}] [{}]",
        b"[{}]{}",
        b'[{}] "more"',
        b"[{}]garbage",
        b"[{} {}]",
        b"[{}{}]",
        b"[{},,{}]",
        b"[,{}]",
        b"[{},]",
        b"garbage[{}]",
        b"{}[{}]",
        b'[{"a":1]',
        b'[{"a":1],{}]',
        b'[{"a"}]',
        b"[{},{",
        b"[{}x,{}]",
        b"[{'a':1}]",
        b"[null,]",
        b"[1,,{}]",
        b"[1}",
        b"[1]2",
        b"[null",
        b'["a',
        b"1",
        b"[nul]",
        b"[{},'a']",
    ],
)
def test_what_is_not_a_list_of_records_is_an_error(text: bytes, sizes: Sizes, whole: bool) -> None:  # noqa: FBT001 - a parameter
    chunks = [text] if whole else list(one_by_one(text))

    with pytest.raises(RetryError) as caught:
        list(json_records("blob a", chunks, sizes))

    assert caught.value.where == "blob a"


@pytest.mark.parametrize("sizes", [Sizes(), SMALL])
def test_a_blob_that_begins_with_a_byte_order_mark_is_read(sizes: Sizes) -> None:
    assert list(json_records("blob", [b'\xef\xbb\xbf[{"a":"bom"}]'], sizes)) == [{"a": "bom"}]


def test_a_message_never_holds_what_was_read() -> None:
    for text in (b'[{"Subject":"secret"', b"secret", b'[{"Subject":"secret"}] secret'):
        for sizes in (Sizes(), SMALL):
            with pytest.raises(RetryError) as caught:
                list(json_records("blob a", [text], sizes))
            assert "secret" not in str(caught.value)


def large(count: int) -> Iterator[bytes]:
    """Yield *count* records of 2.5 KB in chunks that end anywhere."""
    line = orjson.dumps(record("one", Folders="x" * 2_400))
    text = b"[" + b",".join([line] * 400)
    for number in range(count // 400):
        block = text if number == 0 else b"," + text[1:]
        yield from (block[n : n + 262_144] for n in range(0, len(block), 262_144))
    yield b"]"


def peak_of(chunks: Iterator[bytes]) -> int:
    """Return the most bytes that were held while all records were read."""
    tracemalloc.start()
    try:
        for _ in json_records("blob", chunks):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_blob() -> None:
    small, big = peak_of(large(4_000)), peak_of(large(24_000))

    assert big < small * 1.2
    assert big < 40_000_000


def test_a_string_full_of_escapes_takes_no_more_than_a_few_times_its_size() -> None:
    text = b'[{"a":"' + rb"\n\"" * 1_500_000 + b'"}]'
    chunks = (text[n : n + 262_144] for n in range(0, len(text), 262_144))

    assert peak_of(chunks) < 20 * len(text)  # the parser itself takes twelve times


def test_a_record_larger_than_a_piece_comes_whole() -> None:
    giant = {"Id": "giant", "Body": "]},{[" * 200_000}
    text = orjson.dumps([{"Id": "a"}, giant, {"Id": "b"}])
    chunks = [text[n : n + 65_536] for n in range(0, len(text), 65_536)]

    found = list(json_records("blob", chunks, Sizes(whole=1_000, piece=1_000)))

    assert found == [{"Id": "a"}, giant, {"Id": "b"}]


@pytest.mark.parametrize("piece", [1, 40, 90, 400])
def test_records_inside_of_records_that_begin_alike_are_not_taken_for_records(piece: int) -> None:
    found = [
        {"Id": str(number), "Items": [{"Id": '{"Id"'}, {"Id": "b", "In": [{"Id": "c"}]}]}
        for number in range(30)
    ]
    text = orjson.dumps(found)
    chunks = [text[at : at + 50] for at in range(0, len(text), 50)]

    assert list(json_records("blob", chunks, Sizes(whole=0, piece=piece))) == found


@pytest.mark.parametrize("bad", [b',,{"Id":"3"}', b'{"Id":"3"}', b"],[{}"])
def test_what_is_wrong_between_records_that_begin_alike_is_an_error(bad: bytes) -> None:
    text = b'[{"Id":"1"},{"Id":"2"}' + bad + b',{"Id":"4"},{"Id":"5"}]'

    for size in (1, 5, 11, len(text)):
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        assert read_until_error(chunks, SMALL) == []
