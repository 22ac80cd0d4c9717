"""The rules we compare with are given a fair chance, and miss what they must miss."""

from __future__ import annotations

from datetime import UTC, datetime

from mailvigil.demo.common_rules import Reported, keyed_on_client_app, with_allow_list
from mailvigil.lab.tenant.clients import CRM
from mailvigil.lab.tenant.profile import DEMO
from mailvigil.lab.tenant.records import intrusion_facts, records
from mailvigil.rules.app_names import first_party_ids

NEW_APP = "c0000000-0000-4000-a000-000000000001"
MICROSOFT = "00000003-0000-0000-c000-000000000000"


def reading(day: int, number: int = 0, **fields: str) -> dict[str, object]:
    return {
        "Id": f"{day}-{number}",
        "CreationTime": f"2026-06-{day:02d}T09:00:00",
        "Operation": "MailItemsAccessed",
        **fields,
    }


def test_a_client_app_that_comes_late_is_reported_once_with_its_records() -> None:
    records = [
        reading(1),
        reading(9, 1, AppId=MICROSOFT, ClientAppId=NEW_APP),
        reading(10, 2, AppId=MICROSOFT, ClientAppId=NEW_APP.upper()),
    ]
    expected = Reported(caller=NEW_APP, first_seen=datetime(2026, 6, 9, 9, tzinfo=UTC), records=2)

    assert keyed_on_client_app(records) == (expected,)
    assert with_allow_list(records, {MICROSOFT}) == (expected,)


def test_a_caller_of_the_first_week_is_known() -> None:
    records = [reading(1), reading(7, ClientAppId=NEW_APP), reading(20, ClientAppId=NEW_APP)]

    assert keyed_on_client_app(records) == ()
    assert with_allow_list(records, ()) == ()


def test_a_new_app_id_alone_is_seen_only_by_the_rule_that_looks_at_it() -> None:
    records = [reading(1), reading(9, AppId=NEW_APP)]

    assert keyed_on_client_app(records) == ()
    assert [report.caller for report in with_allow_list(records, ())] == [NEW_APP]
    assert with_allow_list(records, {NEW_APP}) == ()


def test_approved_callers_and_other_operations_and_repeats_do_not_count() -> None:
    late = reading(9, ClientAppId=NEW_APP)
    other = {**reading(9, 5, ClientAppId="another"), "Operation": "Send"}

    assert keyed_on_client_app([reading(1), late], approved={NEW_APP}) == ()
    assert [r.records for r in keyed_on_client_app([reading(1), late, late, other])] == [1]


def test_no_records_give_no_report() -> None:
    assert keyed_on_client_app([]) == ()


def test_both_miss_the_intruder_and_would_see_it_without_their_blind_spot() -> None:
    demo = list(records(DEMO))
    intrusion = intrusion_facts(DEMO)
    assert intrusion is not None
    by_client = {report.caller for report in keyed_on_client_app(demo)}
    by_list = {report.caller for report in with_allow_list(demo, first_party_ids())}
    unlisted = first_party_ids() - {intrusion.caller}

    assert intrusion.caller in first_party_ids()
    assert by_client == by_list == {CRM}
    assert intrusion.caller in {report.caller for report in with_allow_list(demo, unlisted)}
