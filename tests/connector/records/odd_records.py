"""Audit records as they come and as they should not: what shaping must survive.

Left out is what JSON parsers differ in by right: a name twice in one object, numbers beyond
64 bits, how a float with an exponent is written, and lone surrogates. Also left out are İ and Σ,
whose small letter depends on what stands around them.
"""

from __future__ import annotations

import orjson
from hypothesis import strategies as st

from audit_feed.columns import load_table

TABLE = load_table("M365Activity_CL")

ADDRESSES = (
    "",
    "192.0.2.7",
    "192.0.2.7:51234",
    "[192.0.2.7]:443",
    "[2001:DB8::1]:51234",
    "[2001:db8::1]",
    "2001:DB8::A",
    "fe80::1%12",
    "[fe80::1%eth0]:99",
    "::ffff:192.0.2.7",
    "[::FFFF:192.0.2.7]:51234",
    " 192.0.2.7 ",
    "192.0.2.7:1\n",
    "mail.contoso.example",
    "MAIL.contoso.example:443",
    "1.2.3.4.5:6",
    "[",
    "%",
    "\u0661.1.1.1:80",
)
TIMES = (
    "2026-01-31T12:00:00",
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00.1234567Z",
    "2026-01-31T23:30:00.9999999-05:30",
    "2026-01-31T12:00:00+14:00",
    "2024-02-29T00:00:00",
    "2026-02-29T00:00:00",
    "2026-01-31T24:00:00",
    "2026-01-31T12:00:60",
    "0001-01-01T00:00:00",
    "9999-12-31T23:59:59Z",
    "2026-01-31T12:00:00+24:00",
    "2026-01-31T12:00:00+09:99",
    "2026-01-31 12:00:00",
    "2026-01-31",
    "31.01.2026 12:00",
    "",
)
NUMBERS = ("0", "50", "-1", "+1", " 2", "2.0", "1e3", "007", "9" * 9, "9" * 10, "9" * 18, "9" * 19)
CLIENTS = (
    "",
    "Client=OWA;Action=ViaProxy",
    "Client=REST;Client=RESTSystem;;",
    "Client=POP3/IMAP4;Protocol=IMAP4",
    "client=OWA",
    "Client=;",
    "Client=WebServices;X[AppId=ABCDEF01-0000-4000-8000-000000000001];",
    "Client=WebServices;X[AppId=];",
    "[appid=x]",
)
WORDS = (
    "True",
    "FALSE",
    "true",
    "Bind",
    "Sync",
    "it's",
    'say "x"',
    "null",
    "{}",
    "[",
    "\\",
    "é😀\u200b",
)

TEXTS = st.one_of(
    st.sampled_from(ADDRESSES + TIMES + NUMBERS + CLIENTS + WORDS),
    st.text(st.sampled_from("aZ0 \"'\\\0\n\t{}[]%:.,ß€😀\u200b\ufeff"), max_size=6),
)
WHOLE = (0, -1, 50, 999_999_999, 1_000_000_000, 2**31, 10**18 - 1, 10**18, 2**64 - 1)
BROKEN = (0.5, -2.0, 0.001, 12345.678)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from(WHOLE),
    st.sampled_from(BROKEN),
    TEXTS,
)
EVERY_SCALAR: tuple[object, ...] = (
    *(None, True, False, *WHOLE, *BROKEN),
    *(*ADDRESSES, *TIMES, *NUMBERS, *CLIENTS, *WORDS),
)
PATHS = [source for column in TABLE.columns for source in column.sources]
NAMES = sorted({path.split(".")[0] for path in PATHS})
ODD_NAMES = ["", "appid", "APPID", "a.b", "AppAccessContext.AADSessionId", "$", "é", "it's", 'a"b']
INNER = ["Name", "Value", "Path", "ParentFolder", "AADSessionId", "UniqueTokenId", "name", "x"]
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(INNER), inner, max_size=4),
    ),
    max_leaves=6,
)
PAIRS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "Name": st.sampled_from(["MailAccessType", "IsThrottled", "Other", 5, None]),
                "Value": VALUES,
            }
        ),
        st.fixed_dictionaries(
            {"Value": TEXTS, "Name": st.sampled_from(["MailAccessType", "IsThrottled"])}
        ),
        VALUES,
    ),
    max_size=4,
)
PROPERTIES = st.one_of(PAIRS, PAIRS.map(lambda pairs: orjson.dumps(pairs).decode()), VALUES)

LIKELY = {
    "CreationTime": st.sampled_from(TIMES),
    "ClientIP": st.sampled_from(ADDRESSES),
    "ClientIPAddress": st.sampled_from(ADDRESSES),
    "ClientInfoString": st.sampled_from(CLIENTS),
    "OperationProperties": PROPERTIES,
    "AppAccessContext": st.dictionaries(st.sampled_from(INNER), VALUES, max_size=3),
    "Item": st.fixed_dictionaries({"ParentFolder": st.fixed_dictionaries({"Path": VALUES})}),
}
"""Values of the fields that are more than a text."""

Record = dict[str, object]


def _field(name: str) -> st.SearchStrategy[tuple[str, object]]:
    likely = LIKELY.get(name, TEXTS)
    return st.tuples(st.just(name), st.one_of(likely, likely, VALUES))


RECORDS: st.SearchStrategy[Record] = st.lists(
    st.sampled_from([*NAMES, *NAMES, *ODD_NAMES]).flatmap(_field), max_size=12
).map(dict)
"""Records with any value in any field."""
