"""What a report shows beside the findings is what the log says."""

from __future__ import annotations

import gzip
import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detections.commands.command import KNOWN, NEWCOMER, intruded, read_at
from detections.exports.written import Record, purview
from mailvigil.exports.load_progress import NoProgress
from mailvigil.hunt.evidence import MOST_MAILBOXES, Gap, HuntEvidence, gaps
from mailvigil.hunt.finding_id import finding_id
from mailvigil.hunt.request import HuntRequest
from mailvigil.hunt.result import HuntResult
from mailvigil.hunt.run import hunt
from mailvigil.rules.app_names import name_of

HOUR = timedelta(hours=1)
ONE = ("caller_new_to_tenant",)
"""Where what is tested is not the pack, which takes ten times as long as one rule."""


class Silent(NoProgress):
    """Progress that nobody looks at."""

    def phase(self, name: str, parts: int) -> None: ...

    def advance(self) -> None: ...


def hunted(
    *paths: object, most: int = 50, stdin: bytes = b"", rules: tuple[str, ...] = ONE
) -> HuntResult:
    request = HuntRequest(paths=tuple(str(path) for path in paths), evidence=most, rules=rules)
    return hunt(request, stdin=io.BytesIO(stdin), name_of=name_of, progress=Silent())


def evidence(
    folder: Path, records: list[Record], most: int = 50, rules: tuple[str, ...] = ONE
) -> tuple[HuntResult, HuntEvidence]:
    path = folder / "export.csv"
    path.write_bytes(purview(records))
    found = hunted(path, most=most, rules=rules)
    assert found.evidence
    return found, found.evidence


@pytest.fixture(scope="module")
def intrusion(tmp_path_factory: pytest.TempPathFactory) -> tuple[HuntResult, HuntEvidence]:
    """Return the hunt in a small intrusion, and its evidence."""
    return evidence(tmp_path_factory.mktemp("intrusion"), intruded(), rules=())


def test_a_finding_shows_its_own_records(intrusion: tuple[HuntResult, HuntEvidence]) -> None:
    found, there = intrusion

    [finding] = found.findings
    sample = there.samples[finding_id(finding)]
    assert len(sample) == finding.records == 3
    assert {record.caller for record in sample} == {NEWCOMER}
    assert [record.time for record in sample] == sorted(record.time for record in sample)
    assert [record.session for record in sample] == ["session-101", "session-102", "session-103"]
    assert {record.address for record in sample} == {"203.0.113.9"}
    assert (sample[0].time, sample[-1].time) == (finding.first, finding.last)
    assert len({record.id for record in sample}) == 3


def test_a_sample_is_the_first_records_and_no_more_than_asked_for(tmp_path: Path) -> None:
    found, there = evidence(tmp_path, intruded(), most=2)

    [finding] = found.findings
    sample = there.samples[finding_id(finding)]
    assert [record.session for record in sample] == ["session-101", "session-102"]
    assert finding.records == 3


def test_what_callers_read_is_counted(intrusion: tuple[HuntResult, HuntEvidence]) -> None:
    _, there = intrusion

    callers = {access.caller: access for access in there.callers}
    assert list(callers) == [NEWCOMER, KNOWN]
    assert (callers[KNOWN].records, callers[NEWCOMER].records) == (12, 3)
    assert sum(activity.records for activity in there.activity) == 15
    pairs = {(pair.caller, pair.mailbox): pair.records for pair in there.pairs}
    assert pairs == {
        (KNOWN, "adele@contoso.example"): 12,
        (NEWCOMER, "adele@contoso.example"): 2,
        (NEWCOMER, "marten@contoso.example"): 1,
    }


def test_a_mailbox_without_logged_reading_is_named(tmp_path: Path) -> None:
    sent = {"Operation": "Send", "MailboxOwnerUPN": "Elsa@contoso.example"}

    _, there = evidence(tmp_path, [*intruded(), read_at(3, 300, **sent), read_at(4, 301, **sent)])

    [unlogged] = there.coverage.unlogged
    assert (unlogged.mailbox, unlogged.records) == ("elsa@contoso.example", 2)
    assert unlogged.last == datetime(2026, 1, 9, 9, tzinfo=UTC)


def test_a_throttled_mailbox_is_named(tmp_path: Path) -> None:
    throttled = {"OperationProperties": [{"Name": "IsThrottled", "Value": "True"}]}

    _, there = evidence(tmp_path, [*intruded(), read_at(3.5, 300, **throttled)])

    [found] = there.coverage.throttled
    assert (found.mailbox, found.records) == ("adele@contoso.example", 1)
    assert found.first == found.last == datetime(2026, 1, 8, 21, tzinfo=UTC)


def test_hours_without_records_are_counted(tmp_path: Path) -> None:
    _, there = evidence(tmp_path, [read_at(0, 0), read_at(1 / 24, 1), read_at(5 / 24, 2)])

    start = datetime(2026, 1, 5, 11, tzinfo=UTC)
    assert there.coverage.gaps == (Gap(start, start + 3 * HOUR),)
    assert there.coverage.hours == 6


def test_a_mailbox_of_many_findings_comes_before_one_of_few(tmp_path: Path) -> None:
    one, other = ({"AppId": f"{NEWCOMER}{end}", "ClientInfoString": "Client=REST;"} for end in "12")
    wide = [
        read_at(10 + n / 100, 500 + n, **one, MailboxOwnerUPN=f"a{n:02}@contoso.example")
        for n in range(MOST_MAILBOXES)
    ]
    twice = [
        read_at(10.5, 600 + n, **app, MailboxOwnerUPN="zora@contoso.example")
        for n, app in enumerate((one, other))
    ]

    found, there = evidence(tmp_path, [*intruded(), *wide, *twice])

    assert sum("zora@contoso.example" in f.mailboxes for f in found.findings) >= 2
    assert there.mailboxes[0] == "zora@contoso.example"
    assert len(there.mailboxes) == MOST_MAILBOXES
    assert there.all_mailboxes == MOST_MAILBOXES + 3


@given(st.sets(st.integers(0, 60), min_size=1))
def test_gaps_and_hours_with_records_fill_the_span(present: set[int]) -> None:
    start = datetime(2026, 1, 5, tzinfo=UTC)

    found = gaps(start + number * HOUR for number in present)

    missing = {(gap.start - start) // HOUR + n for gap in found for n in range(gap.hours)}
    assert missing == set(range(min(present), max(present) + 1)) - present
    assert [gap.hours for gap in found] == sorted((gap.hours for gap in found), reverse=True)


def test_data_without_reading_has_evidence(tmp_path: Path) -> None:
    found, there = evidence(tmp_path, [read_at(0, 0, Operation="Send")])

    assert found.span is None
    assert (there.callers, there.pairs, there.activity) == ((), (), ())
    assert [unlogged.mailbox for unlogged in there.coverage.unlogged] == ["adele@contoso.example"]


def test_each_file_has_its_digest(tmp_path: Path) -> None:
    plain = purview(intruded())
    (tmp_path / "a.csv").write_bytes(plain)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(plain))
    with ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("one.csv", plain)
        archive.writestr("two.csv", plain)

    found = hunted(tmp_path, "-", stdin=plain)

    expected = {
        **{
            str(path): (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in tmp_path.iterdir()
        },
        "-": (len(plain), hashlib.sha256(plain).hexdigest()),
    }
    assert {s.name: (s.size, s.sha256) for s in found.load.sources} == expected
    assert len(found.load.sources) == 4


@pytest.mark.parametrize("most", [0, 1])
def test_evidence_is_gathered_only_when_asked_for(most: int, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(purview(intruded()))

    found = hunted(path, most=most)

    assert (found.evidence is not None) == bool(found.load.sources) == bool(most)
