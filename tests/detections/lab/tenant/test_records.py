"""The made-up month is what the demo says it is, and the same everywhere."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from detections.lab.tenant.record_shape import (
    Record,
    bare_address,
    caller,
    check_access,
    check_address,
    properties,
    protocol,
    text,
)
from mailvigil.errors import InputError
from mailvigil.lab.tenant.attacks.token_theft import CALLER, CONSUMER_TENANT
from mailvigil.lab.tenant.clients import CRM, OWA, VAULT
from mailvigil.lab.tenant.people import tenant_of
from mailvigil.lab.tenant.portal_files import (
    APPROVED_COLUMNS,
    PURVIEW_COLUMNS,
    write_approved_csv,
    write_purview_csv,
)
from mailvigil.lab.tenant.profile import DEMO, Profile
from mailvigil.lab.tenant.records import Intrusion, intrusion_facts, records, throttled_mailbox

SMALL = replace(DEMO, mailboxes=20, days=3)
SATURDAY = datetime(2026, 1, 3, tzinfo=UTC)

SMALL_DIGEST = "21d1d9cfdd53b15e99a57b688b9c90764c9c7487d6b25c6a7c4d30bafd9e37e9"
"""Of ``SMALL`` as CSV. It changes with the generator, and with nothing else."""


def as_csv(profile: Profile, limit: int | None = None) -> str:
    out = io.StringIO(newline="")
    write_purview_csv(profile, out, limit)
    return out.getvalue()


def moment(record: Record) -> datetime:
    return datetime.fromisoformat(text(record, "CreationTime")).replace(tzinfo=UTC)


def reads(made: list[dict[str, object]]) -> list[dict[str, object]]:
    return [record for record in made if record["Operation"] == "MailItemsAccessed"]


@pytest.fixture(scope="module")
def intrusion() -> Intrusion:
    facts = intrusion_facts(DEMO)
    assert facts is not None
    return facts


def test_the_bytes_of_a_seed_are_the_same_on_every_python() -> None:
    assert hashlib.sha256(as_csv(SMALL).encode()).hexdigest() == SMALL_DIGEST


def test_another_seed_is_another_tenant() -> None:
    other = replace(SMALL, seed=2)

    assert as_csv(other) != as_csv(SMALL)
    assert tenant_of(other).organization_id != tenant_of(SMALL).organization_id


def test_the_demo_is_a_month_of_the_promised_size(demo: list[dict[str, object]]) -> None:
    days = {text(record, "CreationTime")[:10] for record in demo}

    assert 40_000 <= len(demo) <= 60_000
    assert len(days) == DEMO.days
    assert len({record["MailboxOwnerUPN"] for record in reads(demo)}) == DEMO.mailboxes


def test_every_reading_has_the_shape_of_a_real_record(demo: list[dict[str, object]]) -> None:
    for record in reads(demo):
        check_access(record)


def test_other_operations_are_there_and_have_the_common_fields(
    demo: list[dict[str, object]],
) -> None:
    others = [record for record in demo if record["Operation"] != "MailItemsAccessed"]
    common = {"CreationTime", "Id", "Operation", "OrganizationId", "RecordType", "UserId"}

    assert {record["Operation"] for record in others} == {
        "FileAccessed",
        "HardDelete",
        "MoveToDeletedItems",
        "Send",
        "Set-Mailbox",
        "UserLoggedIn",
    }
    assert all(common <= record.keys() for record in others)
    for record in others:
        check_address(text(record, "ClientIP"))


def test_a_record_is_about_as_large_as_a_real_one(demo: list[dict[str, object]]) -> None:
    sizes = [len(json.dumps(record, separators=(",", ":"))) for record in reads(demo)]

    assert 1_200 < sum(sizes) / len(sizes) < 1_450


@pytest.mark.parametrize(
    "profile",
    [
        DEMO,
        *(
            replace(DEMO, seed=seed, mailboxes=20, reads_a_day=6.0, start=SATURDAY)
            for seed in (6, 7, 11)
        ),
    ],
    ids=lambda profile: f"seed {profile.seed}",
)
def test_every_ordinary_caller_is_known_after_six_days(
    profile: Profile, demo: list[dict[str, object]]
) -> None:
    made = demo if profile == DEMO else list(records(profile))
    known_until = profile.start + timedelta(days=6)
    first: dict[tuple[str, str], datetime] = {}
    for record in reads(made):
        first.setdefault((caller(record), protocol(record)), moment(record))
    late = {key for key, time in first.items() if time >= known_until}

    assert late == {(OWA, "OWA"), (CRM, "REST"), (CALLER, "OWA")}


def test_all_kinds_of_clients_are_at_work(demo: list[dict[str, object]]) -> None:
    protocols = {protocol(record) for record in reads(demo)}

    assert protocols == {"OWA", "MSExchangeRPC", "REST", "ActiveSync", "WebServices", "POP3/IMAP4"}


def test_the_web_id_drifts_on_its_day_and_stays(demo: list[dict[str, object]]) -> None:
    new = [moment(record) for record in reads(demo) if caller(record) == OWA]
    drift = DEMO.start + timedelta(days=DEMO.drift_day)

    assert drift <= min(new) < drift + timedelta(days=1)
    assert max(new) > DEMO.start + timedelta(days=DEMO.days - 1)


def test_weekends_are_quiet(demo: list[dict[str, object]]) -> None:
    weekend = [record for record in reads(demo) if moment(record).weekday() >= 5]

    assert 0 < len(weekend) < len(reads(demo)) / 15


def test_the_intruder_reads_only_where_and_when_the_facts_say(
    demo: list[dict[str, object]], intrusion: Intrusion
) -> None:
    dark = [record for record in reads(demo) if caller(record) == intrusion.caller]

    assert len(dark) > 100
    assert {text(record, "MailboxOwnerUPN") for record in dark} == set(intrusion.mailboxes)
    assert {bare_address(text(r, "ClientIPAddress")) for r in dark} == set(intrusion.addresses)
    assert all(intrusion.first <= moment(record) < intrusion.last for record in dark)
    assert {protocol(record) for record in dark} == {intrusion.protocol}
    assert not any(text(record, "ClientAppId") for record in dark)
    assert {properties(record)["MailAccessType"] for record in dark} == {"Bind"}


def test_nobody_else_uses_the_intruders_id_or_addresses(
    demo: list[dict[str, object]], intrusion: Intrusion
) -> None:
    others = [
        r for r in demo if r["Operation"] != "MailItemsAccessed" or caller(r) != intrusion.caller
    ]

    for record in others:
        line = json.dumps(record)
        assert intrusion.caller not in line
        assert not any(address in line for address in intrusion.addresses)


def test_leaving_the_intruder_out_changes_nothing_else() -> None:
    whole = replace(DEMO, mailboxes=20, reads_a_day=6.0)
    quiet = replace(whole, intrusion_days=())
    without = [r for r in records(whole) if r.get("AppId") != CALLER]

    assert list(records(quiet)) == without
    assert intrusion_facts(whole) is not None
    assert intrusion_facts(quiet) is None


@pytest.mark.parametrize(("share", "expected"), [(0.0, {""}), (1.0, {CONSUMER_TENANT})])
def test_how_many_forged_tokens_show_their_tenant_is_an_option(
    share: float, expected: set[str]
) -> None:
    profile = replace(DEMO, mailboxes=20, days=19, foreign_tokens=share)
    facts = intrusion_facts(profile)
    assert facts is not None
    dark = [r for r in records(profile) if r.get("AppId") == facts.caller]

    assert {text(record, "TokenTenantId") for record in dark} == expected


def test_only_the_intruder_shows_a_foreign_token(
    demo: list[dict[str, object]], intrusion: Intrusion
) -> None:
    own = tenant_of(DEMO).organization_id
    foreign = [r for r in reads(demo) if text(r, "TokenTenantId") not in {"", own}]

    assert {text(record, "TokenTenantId") for record in foreign} == {CONSUMER_TENANT}
    assert {caller(record) for record in foreign} == {intrusion.caller}


def test_a_throttled_mailbox_is_blind_for_a_day(demo: list[dict[str, object]]) -> None:
    throttled = [r for r in reads(demo) if properties(r)["IsThrottled"] == "True"]
    assert len({text(record, "Id") for record in throttled}) == 1
    mailbox, since = throttled[0]["MailboxOwnerUPN"], moment(throttled[0])
    binds = [
        moment(record)
        for record in reads(demo)
        if record["MailboxOwnerUPN"] == mailbox and record["RecordType"] == 50
    ]

    assert mailbox == throttled_mailbox(DEMO)
    assert since >= DEMO.start + timedelta(days=8)
    assert sum(since - timedelta(days=1) < time <= since for time in binds) > 1_000
    assert not any(since < time < since + timedelta(hours=24) for time in binds)
    assert any(time > since + timedelta(hours=24) for time in binds)


def test_throttling_can_be_left_out() -> None:
    profile = replace(DEMO, mailboxes=20, days=26, throttled_day=None)

    assert throttled_mailbox(profile) is None
    assert not any(properties(r)["IsThrottled"] == "True" for r in reads(list(records(profile))))


def test_repeats_are_whole_records_and_few(demo: list[dict[str, object]]) -> None:
    first: dict[str, dict[str, object]] = {}
    repeats = 0
    for record in demo:
        repeats += text(record, "Id") in first
        assert first.setdefault(text(record, "Id"), record) == record

    assert 0.02 < repeats / len(demo) < 0.04


def test_records_come_in_order_but_for_repeats_up_to_an_hour_late(
    demo: list[dict[str, object]],
) -> None:
    newest, seen = DEMO.start, set[object]()
    for record in demo:
        late = timedelta(hours=1) if record["Id"] in seen else timedelta(0)
        assert moment(record) >= newest - late
        newest = max(newest, moment(record))
        seen.add(record["Id"])


def test_an_app_without_a_user_is_its_own_user(demo: list[dict[str, object]]) -> None:
    archive = [record for record in reads(demo) if caller(record) == VAULT]

    assert len({record["MailboxOwnerUPN"] for record in archive}) == DEMO.mailboxes
    assert {(r["UserType"], r["UserKey"], r["UserId"]) for r in archive} == {(5, VAULT, VAULT)}


def test_delegates_read_under_their_own_name(demo: list[dict[str, object]]) -> None:
    delegated = [record for record in reads(demo) if record["LogonType"] == 2]

    assert delegated
    assert all(record["UserId"] != record["MailboxOwnerUPN"] for record in delegated)


def test_the_csv_holds_the_records_in_the_portals_columns() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(SMALL))))
    made = list(records(SMALL))

    assert list(rows[0]) == list(PURVIEW_COLUMNS)
    assert [json.loads(row["AuditData"]) for row in rows] == made
    assert all(row["RecordId"] == json.loads(row["AuditData"])["Id"] for row in rows)
    assert all(None not in row for row in rows)


def test_a_limit_keeps_the_beginning() -> None:
    out = io.StringIO(newline="")
    count = write_purview_csv(SMALL, out, 10)

    assert count == 10
    assert as_csv(SMALL).startswith(out.getvalue())


def test_the_approved_list_names_the_apps_that_read_for_the_tenant() -> None:
    out = io.StringIO(newline="")
    count = write_approved_csv(DEMO, out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))

    assert count == len(rows)
    assert [row["Caller"] for row in rows] == [VAULT, CRM]
    assert list(rows[0]) == list(APPROVED_COLUMNS)
    assert rows[1]["ValidFrom"] == "2026-06-15T00:00:00Z"


@pytest.mark.parametrize(
    "start",
    [
        datetime(2026, 6, 1, tzinfo=UTC).replace(tzinfo=None),
        datetime(2026, 6, 1, 8, tzinfo=UTC),
        datetime(2026, 6, 1, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_start_that_is_not_midnight_in_utc_is_refused(start: datetime) -> None:
    with pytest.raises(InputError, match="profile: start is not a midnight in UTC"):
        replace(DEMO, start=start)


def test_a_tenant_too_small_for_its_roles_is_refused() -> None:
    with pytest.raises(InputError, match=r"profile: 19 mailboxes \(20 or more\)"):
        replace(DEMO, mailboxes=19)
