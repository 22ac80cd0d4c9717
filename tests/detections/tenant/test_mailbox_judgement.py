"""No mailbox that does not reach the feed is called configured; a plan is done and undone."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detections.commands.command import run
from detections.tenant.exchange import ACTION, TYPES, USUAL, Mailbox, RefusedError, export
from mailvigil.tenant.mailbox_export import BypassedAccount, ExportedMailbox, read_export
from mailvigil.tenant.mailbox_judgement import MailboxJudgement, MailboxVerdict, judge

Row = Mapping[str, object]
Lines = list[Row]


@st.composite
def mailboxes(draw: st.DrawFn) -> Mailbox:
    """Return a mailbox in any state that Exchange can have it in."""
    number = draw(st.integers(1, 99_999_999))
    mailbox = Mailbox(
        name=f"user{number}@contoso.example",
        id=f"{number:08}-0000-0000-0000-0000",
        type=draw(
            st.sampled_from(["UserMailbox", "SharedMailbox", "RoomMailbox", "EquipmentMailbox"])
        ),
        licensed=draw(st.booleans()),
        bypassed=draw(st.booleans()),
        stored=draw(st.sampled_from([None, False, True])),
        managed={*draw(st.lists(st.sampled_from(TYPES)))},
    )
    for kind in TYPES:
        own = [*USUAL, *draw(st.sampled_from([[], [ACTION]]))]
        mailbox.lists[kind] = mailbox.default() if kind in mailbox.managed else own
    return mailbox


def reaches_feed(head: Mapping[str, object], row: Mapping[str, object]) -> bool:
    """Say from the documents alone whether the settings send who reads a mailbox to the feed.

    Without a licence in the export, none is taken for granted.
    """
    if head["AuditDisabled"] is not False or head["UnifiedAuditLogIngestionEnabled"] is not True:
        return False
    state = row["State"]
    if not isinstance(state, dict) or row["Bypass"] is not False:
        return False
    if state["AuditEnabled"] is not True or state["AuditEnabledSet"] is not True:
        return False
    lists = [state["AuditOwner"], state["AuditDelegate"], state["AuditAdmin"]]
    return all(isinstance(actions, list) and ACTION in actions for actions in lists)


def judged(content: bytes) -> list[MailboxJudgement]:
    """Return the judgement of each mailbox of an export."""
    organisation, entries = read_export(content.splitlines(), "export")
    return [judge(entry, organisation) for entry in entries if isinstance(entry, ExportedMailbox)]


@given(mailboxes(), st.tuples(st.booleans(), st.booleans()), st.data())
def test_a_mailbox_that_does_not_reach_the_feed_is_never_called_configured(
    mailbox: Mailbox, switches: tuple[bool, bool], data: st.DataObject
) -> None:
    whole = export([mailbox], audit_disabled=switches[0], unified_log=switches[1])
    lines = [json.loads(line) for line in whole.splitlines()]
    state = lines[-2]["State"]
    odd = data.draw(st.sampled_from([*state, ""]))
    if odd:
        state[odd] = data.draw(st.sampled_from([state[odd], None, "True", 1, [None], []]))

    [judgement] = judged("\n".join(map(json.dumps, lines)).encode())

    if judgement.verdict is MailboxVerdict.CONFIGURED:
        assert reaches_feed(lines[0], lines[-2])
    elif not odd:
        assert not reaches_feed(lines[0], lines[-2])
        assert judgement.reasons or judgement.verdict is MailboxVerdict.HELD_BACK


@given(mailboxes())
def test_a_list_that_microsoft_manages_is_never_planned_and_a_bypass_is_never_changed(
    mailbox: Mailbox,
) -> None:
    [judgement] = judged(export([mailbox]))

    assert {name.removeprefix("Audit") for name in judgement.add} & mailbox.managed == set()
    assert any("bypasses auditing" in reason for reason in judgement.reasons) is mailbox.bypassed


class TenantScript:
    """Does and undoes a plan on a tenant as ``mailboxes.ps1`` does, step by step.

    ``crash_at`` is the place in the plan where it ends between the record and the change.
    """

    def __init__(self, tenant: Sequence[Mailbox]) -> None:
        self.tenant = {mailbox.id: mailbox for mailbox in tenant}
        self.refused: list[str] = []

    def apply(self, plan: Lines, crash_at: int = -1) -> Lines:
        record: Lines = [{"Line": "record", "Version": 1}]
        for place, row in enumerate(plan[1:-1]):
            mailbox = self.tenant[str(row["Id"])]
            if mailbox.state() != row["Before"]:
                self.refused.append(mailbox.id)
                continue
            record.append({**row, "Line": "change"})
            if place == crash_at:
                break
            if line := self._change(mailbox, row):
                record.append({"Line": line, "Id": mailbox.id})
        return record

    def _change(self, mailbox: Mailbox, row: Mapping[str, object]) -> str:
        changes: dict[str, object] = {str(name): {"Add": ACTION} for name in _list(row["Add"])}
        if row["SetAuditEnabled"]:
            changes["AuditEnabled"] = True
        off_first = bool(row["SetAuditEnabled"]) and mailbox.shown
        try:
            if off_first:
                mailbox.set_mailbox({"AuditEnabled": False})
            mailbox.set_mailbox(changes)
        except RefusedError:
            self.refused.append(mailbox.id)
            return "" if off_first else "refused"
        except TimeoutError:
            self.refused.append(mailbox.id)
            return "" if off_first or mailbox.state() != row["Before"] else "refused"
        return "done"

    def undo(self, record: Lines) -> int:
        open_changes: dict[str, Mapping[str, object]] = {}
        for row in record:
            if row["Line"] == "change":
                open_changes[str(row["Id"])] = row
            elif row["Line"] in {"refused", "undone"}:
                open_changes.pop(str(row["Id"]), None)
        for id_, row in open_changes.items():
            self.tenant[id_].set_mailbox(self._back(self.tenant[id_], row))
            record.append({"Line": "undone", "Id": id_})
        return len(open_changes)

    def _back(self, mailbox: Mailbox, row: Mapping[str, object]) -> dict[str, object]:
        before = row["Before"]
        assert isinstance(before, dict)
        back: dict[str, object] = {}
        types = []
        for name in map(str, _list(row["Add"])):
            if name.removeprefix("Audit") in before["DefaultAuditSet"]:
                types.append(name.removeprefix("Audit"))
            elif name.removeprefix("Audit") not in mailbox.managed:
                back[name] = {"Remove": ACTION}
        if types:
            back["DefaultAuditSet"] = types
        if row["SetAuditEnabled"]:
            back["AuditEnabled"] = False
        return back


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def settled(mailbox: Mailbox) -> tuple[object, ...]:
    """Return what counts for the feed; what nobody ever set cannot be told from False again."""
    return mailbox.stored is True, mailbox.managed, {k: set(v) for k, v in mailbox.lists.items()}


WITH_FILES = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
TENANTS = st.lists(mailboxes(), min_size=1, max_size=6, unique_by=lambda mailbox: mailbox.id)


@WITH_FILES
@given(TENANTS, st.integers(-1, 5))
def test_a_plan_that_was_done_and_undone_leaves_every_mailbox_as_it_was(
    tmp_path: Path, tenant: list[Mailbox], crash_at: int
) -> None:
    plan = planned(tenant, tmp_path)
    before = [settled(copy.deepcopy(mailbox)) for mailbox in tenant]
    script = TenantScript(tenant)

    record = script.apply(plan, crash_at)
    script.undo(record)

    assert [settled(mailbox) for mailbox in tenant] == before
    assert script.undo(record) == 0


@WITH_FILES
@given(TENANTS)
def test_nothing_is_left_to_mend_after_a_plan_but_what_exchange_refused(
    tmp_path: Path, tenant: list[Mailbox]
) -> None:
    script = TenantScript(tenant)

    script.apply(planned(tenant, tmp_path))

    mend = [j.mailbox.id for j in judged(export(tenant)) if j.verdict is MailboxVerdict.MEND]
    assert mend == script.refused
    assert all(not script.tenant[id_].licensed for id_ in script.refused)


class SlowMailbox(Mailbox):
    """A mailbox whose changes are done, and whose answers do not arrive."""

    def set_mailbox(self, changes: Mapping[str, object]) -> None:
        super().set_mailbox(changes)
        if "DefaultAuditSet" not in changes and {"Add": ACTION} in changes.values():
            raise TimeoutError


def test_a_change_whose_answer_was_lost_is_undone_too(tmp_path: Path) -> None:
    mailbox = SlowMailbox(name="ada@contoso.example", id="1", managed={"Owner", "Delegate"})
    mailbox.lists["Admin"] = [*USUAL]
    script = TenantScript([mailbox])

    record = script.apply(planned([mailbox], tmp_path))

    assert (script.refused, ACTION in mailbox.lists["Admin"]) == (["1"], True)
    assert script.undo(record) == 1
    assert (mailbox.lists["Admin"], mailbox.managed) == ([*USUAL], {"Owner", "Delegate"})


def test_a_mailbox_that_changed_since_the_export_is_left_alone(tmp_path: Path) -> None:
    mailbox = Mailbox(name="ada@contoso.example", id="1", stored=None)
    plan = planned([mailbox], tmp_path)
    mailbox.set_mailbox({"AuditEnabled": True})

    script = TenantScript([mailbox])
    record = script.apply(plan)

    assert script.refused == ["1"]
    assert script.undo(record) == 0
    assert mailbox.stored is True


def test_a_list_that_went_back_to_microsoft_meanwhile_stays_with_it(tmp_path: Path) -> None:
    mailbox = Mailbox(name="ada@contoso.example", id="1", managed={"Owner", "Delegate"})
    mailbox.lists["Admin"] = [*USUAL]
    script = TenantScript([mailbox])
    record = script.apply(planned([mailbox], tmp_path))
    mailbox.set_mailbox({"DefaultAuditSet": ["Admin"]})

    script.undo(record)

    assert mailbox.managed == {*TYPES}
    assert ACTION in mailbox.lists["Admin"]


def planned(tenant: Sequence[Mailbox], folder: Path) -> Lines:
    """Return the plan that the command writes, empty if it writes none."""
    file, plan = folder / "export", folder / "plan"
    file.write_bytes(export(tenant))
    plan.unlink(missing_ok=True)
    run("tenant", "mailboxes", file, "--plan", plan)
    if not plan.exists():
        return []
    return [json.loads(line) for line in plan.read_bytes().splitlines()]


def test_bypassed_accounts_come_before_the_mailboxes() -> None:
    bypassed = Mailbox(name="ada@contoso.example", id="1", bypassed=True)

    _, entries = read_export(export([bypassed]).splitlines(), "export")

    assert next(entries) == BypassedAccount("ada@contoso.example")


def test_an_export_of_any_length_is_read_one_mailbox_at_a_time() -> None:
    mailboxes = 50_000
    head, line, end = export([Mailbox(name="ada@contoso.example", id="1")]).splitlines()
    end = end.replace(b": 1}", b": 50000}")
    read = 0

    def lines() -> Iterator[bytes]:
        nonlocal read
        yield head
        for read in range(1, mailboxes + 1):  # noqa: B007 - what the test looks at
            yield line
        yield end

    _, entries = read_export(lines(), "export")
    ahead = {read - taken for taken, _ in enumerate(entries, 1)}

    assert (read, ahead) == (mailboxes, {0})
