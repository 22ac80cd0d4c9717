"""An odd element of a blob costs neither the blob nor what a row can hold of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_feed.errors import RetryError
from audit_feed.records import elements
from audit_feed.records.elements import DEEPEST, Element, OddElement
from audit_feed.records.json_records import Sizes, json_records

GOOD = [{"Id": "first", "n": 1.5}, {"Id": "last", "t": 'ü "\\'}]
SIZES = (Sizes(), Sizes(whole=0, piece=1), Sizes(whole=0, piece=40), Sizes(whole=0, piece=100_000))


def nested(levels: int) -> bytes:
    """Return a record with so many levels, itself included."""
    return b'{"Id":"deep","In":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


NO_RECORDS = [b"null", b'"text"', b"7", b"-1.5", b"true", b"[]", b'[{"Id":"in"}]', b"NaN", b"1e999"]
ODD: list[tuple[bytes, str, object]] = [
    (b'{"a":NaN}', elements.NUMBER, {"a": "NaN"}),
    (b'{"a":[Infinity,-Infinity]}', elements.NUMBER, {"a": ["Infinity", "-Infinity"]}),
    (b'{"a":1e999}', elements.NUMBER, {"a": "1e999"}),
    (b'{"a":-1E+999}', elements.NUMBER, {"a": "-1E+999"}),
    (b'{"a":1e-400}', elements.NUMBER, {"a": "1e-400"}),
    (b'{"a":1e-99999999999999999999}', elements.NUMBER, {"a": "1e-99999999999999999999"}),
    (b'{"a":18446744073709551616}', elements.NUMBER, {"a": "18446744073709551616"}),
    (b'{"a":-9223372036854775809}', elements.NUMBER, {"a": "-9223372036854775809"}),
    (b'{"a":%b}' % (b"9" * 5_000), elements.NUMBER, {"a": "9" * 5_000}),
    (b'{"a":0.12345678901234567891}', elements.NUMBER, {"a": "0.12345678901234567891"}),
    (b'{"a":9007199254740993.0}', elements.NUMBER, {"a": "9007199254740993.0"}),
    (b'{"a":1,"a":2}', elements.REPEATED, {"a": 2}),
    (b'{"a":{"b":"x","c":{},"b":"x"}}', elements.REPEATED, {"a": {"b": "x", "c": {}}}),
    (rb'{"a":1,"\u0061":"\""}', elements.REPEATED, {"a": '"'}),
    (rb'{"a":"\ud83d cut"}', elements.TEXT, {"a": "\ufffd cut"}),
    (rb'{"a":"\udc00\\ud83d"}', elements.TEXT, {"a": "\ufffd\\ud83d"}),
    (rb'{"\ud83d":"\ud83d\ude00"}', elements.TEXT, {"\ufffd": "😀"}),
    (b'{"a":"\xff"}', elements.TEXT, {"a": "\ufffd"}),
    (b'{"a":"\x01"}', elements.CONTROL, {"a": "\x01"}),
    (
        rb'{"a":"\ud83d","a":1e999}',
        f"{elements.TEXT}, {elements.NUMBER}, {elements.REPEATED}",
        {"a": "1e999"},
    ),
]


def read(odd: bytes, sizes: Sizes, step: int) -> list[Element]:
    """Return the elements of a blob with *odd* between two records, read *step* bytes at a time."""
    first, last = (orjson.dumps(record) for record in GOOD)
    text = b"[" + b" ,".join([first, odd, last]) + b"]"
    return list(json_records("blob", cut(text, step), sizes))


def cut(text: bytes, step: int) -> Iterator[bytes]:
    return (text[at : at + step] for at in range(0, len(text), step))


@pytest.mark.parametrize("step", [7, 1_000_000])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("odd", NO_RECORDS)
def test_an_element_that_is_not_an_object_is_kept_as_it_came(
    odd: bytes, sizes: Sizes, step: int
) -> None:
    kept = OddElement(odd, elements.NOT_AN_OBJECT)

    assert read(odd, sizes, step) == [GOOD[0], kept, GOOD[1]]


@pytest.mark.parametrize("step", [7, 1_000_000])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("odd", "why", "record"), ODD)
def test_what_no_parser_gives_back_is_kept_as_it_came_beside_what_a_row_can_hold(
    odd: bytes, why: str, record: object, sizes: Sizes, step: int
) -> None:
    found = read(odd, sizes, step)

    assert found == [GOOD[0], OddElement(odd, why, record), GOOD[1]]  # type: ignore[arg-type]  # a record
    assert orjson.loads(orjson.dumps(record)) == record


@pytest.mark.parametrize("levels", [DEEPEST + 1, 300, 1_100, 10_000])
@pytest.mark.parametrize("sizes", SIZES)
def test_a_record_that_is_nested_too_deep_is_kept_and_its_deepest_values_are_text(
    levels: int, sizes: Sizes
) -> None:
    odd = nested(levels)

    first, found, last = read(odd, sizes, 1_000)

    assert [first, last] == GOOD
    assert isinstance(found, OddElement)
    assert (found.data, found.why) == (odd, elements.DEEP)
    assert found.record
    [value] = as_text(found.record["In"])
    assert json.loads(value.replace("[", "").replace("]", "") or "0") == 0
    assert len(value) == 2 * (levels - DEEPEST)
    orjson.dumps([{"Record": found.record}])


def as_text(value: object) -> list[str]:
    """Return the texts in nested lists."""
    while isinstance(value, list):
        [value] = value
    return [str(value)]


def test_the_deepest_record_that_fits_is_an_ordinary_one() -> None:
    [_, found, _] = read(nested(DEEPEST), Sizes(), 1_000)

    assert found == orjson.loads(nested(DEEPEST))
    orjson.dumps([{"Record": found}])


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":"00000000000000000000"}',
        b'{"a":": 00000000000000000000"}',
        b'{"a":", 1e-999"}',
        b'{"a":0.10000000000000000000}',
        b'{"a":18446744073709551615,"b":-9223372036854775808}',
        b'{ "a" : 1.10 , "b" : 1E3 , "c" : -0 }',
        rb'{"a":"\u0041\/\ud83d\ude00"}',
        b'{"a":"NaN","b":"a,a","c":{"a":1}}',
        b'{"Id":"6f9d6a1e-8d1b-4a52-9f0e-3f0a7c3f5b21","x":"11111110e-0001-4000-8000-00000000000e"}',
    ],
)
@pytest.mark.parametrize("sizes", SIZES)
def test_what_says_the_same_in_another_spelling_is_an_ordinary_record(
    text: bytes, sizes: Sizes
) -> None:
    assert read(text, sizes, 1_000) == [GOOD[0], orjson.loads(text), GOOD[1]]


NUMBERS = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
)


@given(NUMBERS, st.sampled_from(["", " "]))
def test_a_number_is_what_it_was_or_the_text_that_it_was(number: str, blank: str) -> None:
    [found] = json_records("blob", [f'[{{"a":{blank}{number}}}]'.encode()])

    if isinstance(found, OddElement):
        assert found.record == {"a": number}
    else:
        assert Decimal(str(found["a"])) == Decimal(number)


@pytest.mark.parametrize("sizes", SIZES)
def test_an_element_that_is_not_json_is_an_error_until_the_reader_is_lenient(sizes: Sizes) -> None:
    text = b"""[{"Id":"1"},{'Id':2},{"Id":"3"} {"Id":"4"},{"Id":"5"}]"""

    with pytest.raises(RetryError):
        list(json_records("blob", [text], sizes))

    assert list(json_records("blob", [text], sizes, lenient=True)) == [
        {"Id": "1"},
        OddElement(b"{'Id':2}", elements.NOT_JSON),
        OddElement(b'{"Id":"3"} {"Id":"4"}', elements.NOT_JSON),
        {"Id": "5"},
    ]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("text", [b'[{"Id":"1"},{"Id', b'[{"Id":"1"},', b'[{"Id":"1"}', b"<html>"])
def test_a_body_that_ends_too_early_is_an_error_to_a_lenient_reader_too(
    text: bytes, sizes: Sizes
) -> None:
    with pytest.raises(RetryError):
        list(json_records("blob", [text], sizes, lenient=True))
