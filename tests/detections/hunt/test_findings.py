"""Alerts of one cause are one finding, with all that belongs to it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from detections.small_tenant import RULES, SIGMA, TENANT, at
from mailvigil.engine.row_values import ResultRow
from mailvigil.hunt.alerts import Alert
from mailvigil.hunt.findings import causes, display_name, make_finding
from mailvigil.rules.metadata import INSUFFICIENT
from mailvigil.rules.rule import Rule

NEW = RULES["caller_new_to_tenant"]
RARE = RULES["caller_new_to_mailbox"]


def row(caller: str = "app", **fields: object) -> ResultRow:
    return {
        "OrganizationId": TENANT,
        "Caller": caller,
        "Protocol": "OWA",
        "Verdict": "new",
        "FirstSeen": at(9),
        "LastSeen": at(9.5),
        "Records": 1,
        "OperationCount": 2,
        "MailboxCount": 1,
        "Callers": [caller],
        "Protocols": ["OWA"],
        "Mailboxes": ["b@contoso.example", "a@contoso.example"],
        "Users": ["a@contoso.example", ""],
        "Addresses": [],
        "Sessions": [""],
        "Mailbox": "a@contoso.example",
        "HistoryDays": 8.6,
        **fields,
    }


def name_of(app: str) -> str | None:
    return "Some App" if app == "app" else None


def test_two_alerts_of_one_cause_are_grouped() -> None:
    found = [Alert(at(10), row()), Alert(at(10), row("other")), Alert(at(11), row())]

    assert {key[1]: [a.time for a in group] for key, group in causes(NEW, found).items()} == {
        "app": [at(10), at(11)],
        "other": [at(10)],
    }


def test_too_little_history_is_not_a_finding() -> None:
    assert causes(NEW, [Alert(at(10), row(Verdict=INSUFFICIENT))]) == {}


def test_a_finding_holds_the_whole_cause() -> None:
    whole = row(
        LastSeen=at(12), Records=9, OperationCount=40, MailboxCount=5, Addresses=["192.0.2.7"]
    )
    made = make_finding(NEW, [Alert(at(10), row()), Alert(at(11), row())], whole, name_of)

    assert made.key == {"OrganizationId": TENANT, "Caller": "app", "Protocol": "OWA"}
    assert (made.first, made.last, made.first_alert, made.alerts) == (at(9), at(12), at(10), 2)
    assert (made.records, made.operations) == (9, 40)
    assert made.callers == {"app": "Some App"}
    assert made.mailboxes == ("a@contoso.example", "b@contoso.example")
    assert (made.users, made.sessions) == (("a@contoso.example",), ())
    assert made.addresses == ("192.0.2.7",)
    assert made.why == (
        "Some App (app) read mail by OWA in 5 mailboxes; in 9 days of history this tenant had "
        "not seen it."
    )


def test_a_guard_of_the_first_alert_stays_in_the_sentence() -> None:
    alert = Alert(at(10), row("none", MailboxId="m-adele", MailboxesBefore=3))
    whole = {name: value for name, value in row("none").items() if name != "HistoryDays"}

    made = make_finding(RARE, [alert], whole, name_of)

    assert made.why == (
        "a client that names no application read a@contoso.example by OWA for the first time; "
        "3 other mailboxes of the tenant had it before."
    )


def test_one_mailbox_is_singular_and_a_logs_own_text_stays_as_it_is() -> None:
    one, hostile = row(MailboxCount=1), row(MailboxCount=1, Protocol="OWA $HistoryDays app(s)")

    made = [make_finding(NEW, [Alert(at(10), of)], of, name_of).why for of in (one, hostile)]

    assert "read mail by OWA in 1 mailbox; in 9 days" in made[0]
    assert "read mail by OWA $HistoryDays app(s) in 1 mailbox; in 9 days" in made[1]


@pytest.mark.parametrize("rule", SIGMA.values(), ids=lambda rule: str(rule.name))
def test_every_word_of_a_sentence_is_filled(rule: Rule) -> None:
    user = "a@contoso.example"
    full = row(
        MailboxId="m", MailboxesBefore=3, TokenTenantId="t", SessionId="s", UserId=user, User=user,
        ValueCount=2,
    )  # fmt: skip

    made = make_finding(rule, [Alert(at(10), full)], full, name_of)

    assert "$" not in made.why
    assert made.why.endswith(".")


def test_a_severe_or_early_finding_comes_first() -> None:
    severe = make_finding(NEW, [Alert(at(10), row())], row(FirstSeen=at(9)), name_of)
    later = make_finding(NEW, [Alert(at(10), row("b"))], row(FirstSeen=at(9.1)), name_of)
    mild = make_finding(
        RARE, [Alert(at(2), row(MailboxId="m", MailboxesBefore=1))], row(FirstSeen=at(1)), name_of
    )

    ordered = sorted([mild, later, severe], key=lambda each: each.order)
    assert ordered == [severe, later, mild]


def test_a_time_without_a_value_is_refused() -> None:
    with pytest.raises(TypeError):
        make_finding(NEW, [Alert(at(1), row())], row(FirstSeen=None), name_of)


def test_a_caller_is_shown_by_its_name_and_id() -> None:
    assert display_name("id", "Name") == "Name (id)"
    assert display_name("id", "") == "id"
    assert display_name("none", "") == "a client that names no application"


def test_times_in_a_sentence_are_utc() -> None:
    throttled = RULES["mailbox_throttled"]
    last = at(9) + timedelta(hours=5, minutes=7)

    made = make_finding(throttled, [Alert(at(10), row(MailboxId="m"))], row(LastSeen=last), name_of)

    assert "the 24 hours after 2026-01-14 05:07 UTC is not in the log" in made.why
