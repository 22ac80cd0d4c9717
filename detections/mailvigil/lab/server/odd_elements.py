"""Elements that a JSON array of the feed may hold and a reader may not expect. Pure.

They are bytes: some are what Python's own writer would refuse to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

MODERATE_DEPTH: Final = 300
GREAT_DEPTH: Final = 10_000


def _record(fields: str) -> bytes:
    usual = '"Id":"0dd00000-0000-4000-8000-000000000001","CreationTime":"2026-06-01T10:00:00"'
    return f'{{{usual},"Workload":"Exchange","Operation":"Send",{fields}}}'.encode()


def _nested(depth: int) -> bytes:
    return _record(f'"Parameters":{"[" * depth}{"]" * depth}')


ODD_ELEMENTS: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        "null": b"null",
        "true": b"true",
        "string": b'"a record as text"',
        "number": b"42",
        "array": b"[]",
        "array_of_records": b"[{}]",
        "empty_object": b"{}",
        "not_a_number": _record('"Size":NaN'),
        "infinity": _record('"Size":Infinity'),
        "overflow": _record('"Size":1e999'),
        "lone_surrogate": _record(r'"Subject":"half \ud83d of a pair"'),
        "nul_character": _record(r'"Subject":"a\u0000b"'),
        "deep": _nested(MODERATE_DEPTH),
        "very_deep": _nested(GREAT_DEPTH),
        "big_integer": _record('"Size":18446744073709551616'),
        "huge_integer": _record(f'"Size":{"9" * 5_000}'),
        "long_fraction": _record('"Size":0.1234567890123456789012345678901'),
        "repeated_keys": _record('"UserId":"first","UserId":"second"'),
        "id_is_a_number": b'{"Id":7,"CreationTime":"2026-06-01T10:00:00","Workload":"Exchange"}',
        "id_is_missing": b'{"CreationTime":"2026-06-01T10:00:00","Workload":"Exchange"}',
        "time_is_missing": b'{"Id":"0dd00000-0000-4000-8000-000000000002"}',
        "time_is_a_word": b'{"Id":"0dd00000-0000-4000-8000-000000000003","CreationTime":"soon"}',
    }
)
"""Odd elements of a content blob, by name."""

NOT_JSON_FOR_EVERYBODY: Final = frozenset({"not_a_number", "infinity"})
"""Those that the JSON standard does not allow, though writers make them."""

ODD_ENTRIES: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        "null": b"null",
        "string": b'"a blob as text"',
        "number": b"42",
        "array": b"[]",
        "empty_object": b"{}",
        "uri_is_missing": b'{"contentType":"Audit.Exchange","contentId":"1$2$3$no_uri",'
        b'"contentCreated":"2026-06-01T10:00:00.000Z",'
        b'"contentExpiration":"2026-06-08T10:00:00.000Z"}',
        "uri_of_another_host": b'{"contentType":"Audit.Exchange","contentId":"1$2$3$other_host",'
        b'"contentUri":"https://feed.attacker.example/audit/1","contentCreated":'
        b'"2026-06-01T10:00:00.000Z","contentExpiration":"2026-06-08T10:00:00.000Z"}',
        "time_is_a_word": b'{"contentType":"Audit.Exchange","contentId":"1$2$3$odd_time",'
        b'"contentUri":"https://manage.office.com/audit/1","contentCreated":"today",'
        b'"contentExpiration":"next week"}',
        "id_is_a_number": b'{"contentType":"Audit.Exchange","contentId":7,"contentUri":"",'
        b'"contentCreated":"2026-06-01T10:00:00.000Z",'
        b'"contentExpiration":"2026-06-08T10:00:00.000Z"}',
    }
)
"""Odd elements of a listing, by name."""


def with_elements(body: bytes, elements: Iterable[bytes]) -> bytes:
    """Return the JSON array *body* with *elements* before its own; another body as it is."""
    if not body.startswith(b"["):
        return body
    rest = body[1:].lstrip()
    inside = b",".join(elements)
    comma = b"," if inside and not rest.startswith(b"]") else b""
    return b"[" + inside + comma + rest
