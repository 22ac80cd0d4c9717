"""Each attack is made of records as real ones are, and is the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from detections.lab.tenant.record_shape import GUID, check_access, check_address, text
from detections.small_tenant import RULES, workspace
from mailvigil.lab.tenant.attacks.catalogue import attacks
from mailvigil.lab.tenant.attacks.story import Attack, happened
from mailvigil.lab.tenant.profile import ordinary_month
from mailvigil.lab.tenant.workspace_rows import commit
from mailvigil.workbench.backtest import attack_world, expected

MONTH = ordinary_month(mailboxes=200)
ATTACKS = attacks(attack_world(MONTH))
NAMES = sorted(ATTACKS)
COUNTED = "SELECT count(*), count(*) FILTER (IsThrottled) FROM M365Activity_CL"


def test_every_attack_has_the_rules_that_must_find_it() -> None:
    assert len(ATTACKS) >= 14
    assert expected().keys() == ATTACKS.keys()
    assert {rule for rules in expected().values() for rule in rules} <= RULES.keys()


def test_the_same_seed_gives_the_same_attacks() -> None:
    assert attacks(attack_world(MONTH)) == ATTACKS


def test_another_seed_gives_other_ids() -> None:
    others = attacks(attack_world(ordinary_month(mailboxes=200, seed=2)))

    assert not {r["Id"] for r in others["spray"].records} & {
        r["Id"] for r in ATTACKS["spray"].records
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_record_of_an_attack_has_the_shape_of_a_real_one(name: str) -> None:
    records = ATTACKS[name].records
    for record in records:
        if record["Operation"] == "MailItemsAccessed":
            check_access(record)
        assert GUID.fullmatch(text(record, "Id"))

    assert len({record["Id"] for record in records}) == len(records)
    assert [happened(r) for r in records] == sorted(happened(r) for r in records)
    assert happened(records[0]) >= MONTH.judged[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_sign_in_of_an_attack_comes_before_its_reading_ends(name: str) -> None:
    attack = ATTACKS[name]
    sessions = _first_reads(attack)
    for sign_in in attack.sign_ins:
        check_address(sign_in.address)
        if sign_in.session in sessions:
            assert sign_in.at < sessions[sign_in.session] + timedelta(hours=8)
            assert sign_in.app or sign_in.table == "SigninLogs"


def _first_reads(attack: Attack) -> Mapping[str, datetime]:
    found: dict[str, datetime] = {}
    for record in attack.records:
        if record.get("SessionId"):
            found.setdefault(text(record, "SessionId"), happened(record))
    return found


def test_a_forged_token_leaves_no_sign_in() -> None:
    for name in ("storm-0558", "storm-0558-common-id", "foreign-token"):
        assert ATTACKS[name].sign_ins == ()


def test_a_throttled_mailbox_is_silent_after_the_record_that_says_so() -> None:
    with workspace() as con:
        commit(con, ATTACKS["throttled-bulk-read"], MONTH.seed)
        rows = con.execute(COUNTED)
        found = rows.fetchone()

    assert found == (len(ATTACKS["throttled-bulk-read"].records), 1)


def test_what_a_bypassed_account_reads_is_not_logged() -> None:
    bypass, read = ATTACKS["bypass-then-read"], ATTACKS["delegate-abuse"]
    reader = bypass.unlogged[0].reader
    same = [{**r, "UserId": reader} for r in read.records if r["Operation"] == "MailItemsAccessed"]
    with workspace() as con:
        commit(con, Attack(name="x", title="x", records=tuple(same)), MONTH.seed)
        before = con.execute("SELECT count(*) FROM M365Activity_CL").fetchone()
        commit(con, bypass, MONTH.seed)
        after = con.execute("SELECT Operation FROM M365Activity_CL").fetchall()

    assert before == (len(same),)
    assert after == [("Set-MailboxAuditBypassAssociation",)]
