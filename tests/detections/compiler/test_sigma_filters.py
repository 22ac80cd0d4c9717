"""A tenant's own exceptions hold for what they name, correlations too, and always alike."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from detections.compiler.correlated import PATH, Bench, Event, base, bench, text
from detections.small_tenant import ROOT, RULES
from mailvigil.compiler.compile import record_rows, to_kql
from mailvigil.compiler.sigma_filters import load_filters
from mailvigil.compiler.targets import DEFENDER
from mailvigil.errors import InputError
from mailvigil.rules.filters import Filter
from mailvigil.rules.load_rules import with_filters
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import parse_sigma_rule
from mailvigil.tables.record_tables import DROP_REPEATS

NEW = RULES["caller_new_to_tenant"]
COUNT: dict[str, object] = {
    "type": "event_count",
    "rules": ["first", "second"],
    "group-by": ["UserId"],
    "timespan": "1h",
    "condition": {"gte": 3},
}
CORRELATED = parse_sigma_rule(PATH, text(COUNT))


def document(rules: object = "any", condition: str = "not backup", **more: object) -> str:
    found = {
        "title": "Our backup",
        "logsource": {"product": "m365", "service": "audit"},
        "filter": {
            "rules": rules,
            "backup": {"UserId": "backup@contoso.example"},
            "condition": condition,
        },
        **more,
    }
    return yaml.safe_dump(found)


def filters(folder: Path, *documents: str) -> tuple[Filter, ...]:
    for number, one in enumerate(documents):
        (folder / f"{number}.yml").write_text(one, encoding="utf-8")
    return load_filters(folder)


def filtered(folder: Path, rule: Rule, *documents: str) -> str:
    (one,) = with_filters([rule], filters(folder, *documents))
    return to_kql(one, ROOT)


@pytest.fixture(scope="module")
def empty() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.mark.parametrize("rules", ["any", [], [NEW.name], [NEW.id], NEW.name])
def test_a_filter_reaches_its_rule(tmp_path: Path, rules: object) -> None:
    found = filtered(tmp_path, NEW, document(rules))

    asked = 'Operation =~ "MailItemsAccessed" and (not(UserId =~ "backup@contoso.example"))'
    assert asked.replace(" ", "") in found.replace(" ", "")
    assert "// filter: Our backup" in found.splitlines()
    assert "let seen = materialize(MailItemsAccessed(memory)" in found
    assert "M365CallerBaseline_CL" not in found


def test_a_filter_of_another_rule_or_log_does_not_reach_this_one(tmp_path: Path) -> None:
    other = document(["mailbox_throttled"])
    elsewhere = document(logsource={"product": "windows"})
    rules = with_filters([NEW, RULES["mailbox_throttled"]], filters(tmp_path, other, elsewhere))

    assert "backup" not in "\n".join(to_kql(rules[0], ROOT).splitlines()[3:])
    assert "backup" in to_kql(rules[1], ROOT)


def test_the_same_filters_give_the_same_bytes(tmp_path: Path) -> None:
    wild = document(condition="not 1 of them")
    random.seed(1)
    first = filtered(tmp_path, NEW, document(), wild)
    random.seed(2)

    assert filtered(tmp_path, NEW, document(), wild) == first


DEVICE = {"rules": "any", "ours": {"SessionId": "s-backup"}, "condition": "not ours"}


def test_a_filter_by_a_field_that_a_copy_lacks_is_asked_of_the_richest_copy(tmp_path: Path) -> None:
    found = filtered(tmp_path, NEW, document(filter=DEVICE)).split("\n")

    asked = [number for number, line in enumerate(found) if "SessionId =~" in line]
    assert asked
    assert {found[number - 1].strip() for number in asked} == {DROP_REPEATS}


def test_a_copy_without_the_session_does_not_pass_a_filter_by_session(
    tmp_path: Path, empty: Bench
) -> None:
    (one,) = with_filters([CORRELATED], filters(tmp_path, document(filter=DEVICE)))
    backup = [Event(n, 100 * n, more={"SessionId": "s-backup"}) for n in range(1, 4)]
    other = [Event(n, 100 * n, more={"SessionId": "s-1"}) for n in range(1, 4)]

    empty.put(backup)
    empty.copy(backup, "OfficeActivity")
    silent = empty.ask(one)
    empty.put(other)
    empty.copy(other, "OfficeActivity")

    assert silent == []
    assert len(empty.ask(one)) == 1


def test_a_filter_by_a_field_that_all_copies_have_drops_no_repeats_over_the_long_window(
    tmp_path: Path,
) -> None:
    found = filtered(tmp_path, NEW, document())

    assert found.count(DROP_REPEATS) == 1


def test_two_filters_hold_together(tmp_path: Path) -> None:
    other = document().replace("backup@", "archive@")

    found = filtered(tmp_path, NEW, document(), other)

    assert "backup@" in found
    assert "archive@" in found


@pytest.mark.parametrize("rules", ["any", ["made_correlation"], ["made"], ["first", "second"]])
def test_a_filter_reaches_every_rule_that_is_correlated(
    tmp_path: Path, empty: Bench, rules: object
) -> None:
    (one,) = with_filters([CORRELATED], filters(tmp_path, document(rules)))
    user = "backup@contoso.example"
    events = [Event(1, 300, user=user), Event(2, 200, "second", user), Event(3, 100, user=user)]

    assert len(empty.rows(CORRELATED, events)) == 1
    assert empty.rows(one, events) == []
    assert "backup@" in "\n".join(record_rows(one, ROOT))


def test_a_filter_of_one_correlated_rule_holds_for_that_one_alone(
    tmp_path: Path, empty: Bench
) -> None:
    (one,) = with_filters([CORRELATED], filters(tmp_path, document(["second"])))
    user = "backup@contoso.example"

    assert len(empty.rows(one, [Event(n, 100 * n, user=user) for n in range(3)])) == 1
    assert empty.rows(one, [Event(n, 100 * n, "second", user) for n in range(3)]) == []


def test_defender_gets_the_filters_too(tmp_path: Path) -> None:
    (one,) = with_filters([NEW], filters(tmp_path, document()))

    assert "backup@" in to_kql(one, ROOT, DEFENDER)


@pytest.mark.parametrize("name", ["caller_new_to_tennant", "mailbox_audit_bypass"])
def test_a_filter_for_what_is_not_a_sigma_rule_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}', which is not a Sigma rule here"):
        with_filters(tuple(RULES.values()), filters(tmp_path, document([name])))


@pytest.mark.parametrize(
    "broken",
    [
        "just text",
        yaml.safe_dump(base("first")),
        document().replace("rules:", "rulez:"),
        document(condition=""),
        document(logsource="m365"),
    ],
)
def test_what_is_not_a_filter_is_refused_by_name(tmp_path: Path, broken: str) -> None:
    with pytest.raises(InputError, match=r"0\.yml: no Sigma filter: "):
        with_filters([NEW], filters(tmp_path, broken))


def test_a_filter_that_is_not_yaml_is_refused_by_name_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0\.yml: is not YAML at line \d: .*\(correct it or take"):
        with_filters([NEW], filters(tmp_path, "title: ["))


def test_a_folder_without_filters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Sigma filter"):
        load_filters(tmp_path)
