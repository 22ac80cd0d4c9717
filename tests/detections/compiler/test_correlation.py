"""Correlations, judged on the rows that the compiled query returns, and against plain Python."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from detections.compiler.correlated import NOW, OPERATIONS, Bench, Event, base, bench, rule, text
from detections.small_tenant import FUNCTIONS, ROOT, TENANT
from mailvigil.compiler.compile import arrivals, record_rows, to_kql, whole_causes
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.targets import DEFENDER, TARGETS
from mailvigil.engine.row_values import ResultRow
from mailvigil.rules.correlation_rule import TYPES
from mailvigil.rules.sigma_rule import SigmaRule, parse_sigma_rule
from mailvigil.tables.schemas import ARRIVED

HOUR = 3600
CONDITIONS: Mapping[str, dict[str, object] | None] = {
    "event_count": {"gte": 3},
    "value_count": {"gte": 2, "field": "ClientIP"},
    "value_sum": {"gt": 10, "field": "OperationCount"},
    "value_avg": {"gte": 5, "field": "OperationCount"},
    "value_percentile": {"gte": 5, "field": "OperationCount", "percentile": 50},
    "temporal": None,
    "temporal_ordered": None,
}
COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "gt": operator.gt, "gte": operator.ge, "lt": operator.lt,
    "lte": operator.le, "eq": operator.eq, "neq": operator.ne,
}  # fmt: skip


@pytest.fixture(scope="module")
def empty() -> Iterator[Bench]:
    with bench() as made:
        yield made


def made(type_: str, **more: object) -> SigmaRule:
    given_: dict[str, object] = {"condition": CONDITIONS[type_]}
    if type_.startswith("temporal"):
        given_["rules"] = ["first", "second"]
    return rule(type_, **{**given_, **more})


def at(*before: int, **more: object) -> list[Event]:
    return [Event(number, b, more=more) for number, b in enumerate(before)]


def steps(*named: tuple[str, int]) -> list[Event]:
    return [Event(number, b, name) for number, (name, b) in enumerate(named)]


def counted(*valued: tuple[int, object]) -> list[Event]:
    return [Event(n, b, more={"OperationCount": v}) for n, (b, v) in enumerate(valued)]


def from_addresses(*named: tuple[int, str]) -> list[Event]:
    return [Event(n, b, more={"ClientIP": address}) for n, (b, address) in enumerate(named)]


FIRING: list[tuple[str, list[Event]]] = [
    ("event_count", at(300, 200, 100)),
    ("event_count", at(HOUR + 99, 200, 100)),  # 3,599 s: one second inside of the timespan
    ("event_count", at(100, 100, 100)),
    ("value_count", from_addresses((300, "192.0.2.1"), (100, "192.0.2.2"))),
    ("value_sum", counted((300, 6), (100, 5))),
    ("value_avg", counted((300, 4), (200, 6))),
    ("value_percentile", counted((300, 1), (200, 5), (100, 9))),
    ("temporal", steps(("second", 300), ("first", 100))),
    ("temporal_ordered", steps(("first", 300), ("second", 100))),
    ("temporal_ordered", steps(("first", 100), ("second", 100))),
    ("temporal_ordered", steps(("first", HOUR + 99), ("second", 100))),
    ("temporal_ordered", steps(("second", 400), ("first", 300), ("second", 100))),
]
SILENT: list[tuple[str, list[Event]]] = [
    ("event_count", at(200, 100)),
    ("event_count", at(HOUR + 100, 200, 100)),  # exactly the timespan apart
    ("event_count", [*at(300, 200), Event(9, 100, user="ingrid")]),
    ("event_count", [*at(300, 200), Event(9, 100, "second")]),
    ("event_count", at(86_400 + 30, 86_400 + 20, 86_400)),  # the window ends before the last day
    ("value_count", from_addresses((300, "192.0.2.1"), (100, "192.0.2.1"))),
    ("value_count", from_addresses((300, "2001:DB8::1"), (100, "2001:db8::1"))),
    ("value_count", from_addresses((300, "192.0.2.1"), (100, ""))),
    ("value_count", from_addresses((HOUR + 100, "192.0.2.1"), (100, "192.0.2.2"))),
    ("value_sum", counted((300, 5), (100, 5))),
    ("value_sum", counted((HOUR + 100, 6), (100, 5))),
    ("value_avg", counted((300, 3), (200, 4))),
    ("value_percentile", counted((300, 1), (200, 4), (100, 4))),
    ("temporal", steps(("first", 300), ("first", 100))),
    ("temporal", steps(("first", HOUR + 100), ("second", 100))),
    ("temporal_ordered", steps(("second", 300), ("first", 100))),
    ("temporal_ordered", steps(("first", HOUR + 100), ("second", 100))),
    ("temporal_ordered", [Event(1, 300), Event(2, 100, "second", user="ingrid")]),
]


Found = Mapping[str, Sequence[ResultRow]]


def of_users(number: int, events: Sequence[Event]) -> list[Event]:
    """Return *events* with ids and users of their own, so that one query can be asked of many."""
    return [
        replace(event, id=100 * number + event.id, user=event.user and f"{number}-{event.user}")
        for event in events
    ]


def own_rows(rows: Sequence[ResultRow], number: int) -> list[ResultRow]:
    """Return the rows about the users of the events with this number."""
    return [row for row in rows if str(row["UserId"]).startswith(f"{number}-")]


SETS = [*FIRING, *SILENT]
"""All sets of events; a set's number is its place."""


@pytest.fixture(scope="module")
def found(empty: Bench) -> Found:
    """Return by type what its correlation finds in all sets for it, and in one without users."""

    def rows(type_: str) -> Sequence[ResultRow]:
        sets = [of_users(n, events) for n, (t, events) in enumerate(SETS) if t == type_]
        nobody = [replace(event, id=10_000 + event.id, user="") for event in sets[0]]
        return empty.rows(made(type_), [event for events in (*sets, nobody) for event in events])

    return {type_: rows(type_) for type_ in CONDITIONS}


@pytest.mark.parametrize("number", range(len(FIRING)))
def test_what_correlates_fires(found: Found, number: int) -> None:
    type_, events = SETS[number]

    (row,) = own_rows(found[type_], number)

    assert row["UserId"] == f"{number}-adele"
    assert row["Verdict"] == "match"
    assert row["WindowEnd"] == max(event.time for event in events)


@pytest.mark.parametrize("number", range(len(FIRING), len(SETS)))
def test_a_near_miss_is_silent(found: Found, number: int) -> None:
    type_, _ = SETS[number]

    assert own_rows(found[type_], number) == []


@pytest.mark.parametrize("type_", CONDITIONS)
def test_records_without_a_key_are_left_out(found: Found, type_: str) -> None:
    fires = next(f"{n}-adele" for n, (name, _) in enumerate(FIRING) if name == type_)
    users = {str(row["UserId"]) for row in found[type_]}

    assert fires in users
    assert not [user for user in users if not user.partition("-")[2]]


def test_a_window_that_began_before_the_run_is_seen(empty: Bench) -> None:
    events = at(86_400 + 1000, 86_400 + 500, 86_400 - 1)

    (row,) = empty.rows(made("event_count"), events)

    assert (row["FirstSeen"], row["LastSeen"]) == (events[0].time, events[2].time)


def test_the_first_window_is_reported(empty: Bench) -> None:
    events = at(50_000, 49_900, 49_800, 49_700, 20_000, 19_900, 19_800)

    (row,) = empty.rows(made("event_count"), events)

    assert (row["EventCount"], row["Records"]) == (3, 3)
    assert row["WindowEnd"] == events[2].time


def test_a_record_that_comes_late_is_counted(empty: Bench) -> None:
    events = at(7000, 6900, 6800)
    late = {1: NOW - timedelta(minutes=10)}
    before = NOW - timedelta(hours=1)

    empty.put(events, arrived=late)

    assert empty.ask(made("event_count"), now=before) == []
    assert len(empty.ask(made("event_count"))) == 1


def test_the_order_of_events_counts_not_that_of_arrival(empty: Bench) -> None:
    events = steps(("second", 100), ("first", 300))
    arrived = {0: NOW - timedelta(seconds=90), 1: NOW - timedelta(seconds=10)}

    empty.put(events, arrived=arrived)

    assert len(empty.ask(made("temporal_ordered"))) == 1


def test_a_key_in_capitals_is_the_same_group(empty: Bench) -> None:
    events = [Event(1, 300, user="Adele"), Event(2, 200, user="adele"), Event(3, 100, user="ADELE")]

    assert [row["UserId"] for row in empty.rows(made("event_count"), events)] == ["adele"]


def test_without_group_by_the_tenant_is_the_group(empty: Bench) -> None:
    events = [Event(n, 100 * n, user=f"user{n}") for n in range(3)]

    (row,) = empty.rows(made("event_count", group_by=None), events)

    assert row["OrganizationId"] == TENANT
    assert row["EventCount"] == 3


def test_each_group_has_its_own_alert(empty: Bench) -> None:
    events = [*at(300, 200, 100), *(Event(n, n, user="ingrid") for n in (10, 20, 30))]

    assert {row["UserId"] for row in empty.rows(made("event_count"), events)} == {"adele", "ingrid"}


def test_an_alias_reads_the_field_of_each_rule(empty: Bench) -> None:
    aliases = {"who": {"first": "UserId", "second": "ObjectId"}}
    correlated = made("temporal", aliases=aliases, group_by=["who"])
    same = [Event(1, 300), Event(2, 100, "second", "boss", {"ObjectId": "adele"})]
    other = [Event(1, 300), Event(2, 100, "second", "adele", {"ObjectId": "boss"})]

    assert [row["who"] for row in empty.rows(correlated, same)] == ["adele"]
    assert empty.rows(correlated, other) == []


def test_a_record_that_two_rules_match_counts_once(empty: Bench) -> None:
    rules = [base("first"), {**base("first", UserId="adele"), "name": "again"}]
    correlation = {
        "type": "event_count",
        "rules": ["first", "again"],
        "group-by": ["UserId"],
        "timespan": "1h",
        "condition": {"gte": 3},
    }
    correlated = parse_sigma_rule(made("event_count").path, text(correlation, rules))

    assert empty.rows(correlated, at(200, 100)) == []
    assert [row["EventCount"] for row in empty.rows(correlated, at(300, 200, 100))] == [3]


def test_one_record_is_one_step(empty: Bench) -> None:
    rules = [base("first"), {**base("first", UserId="adele"), "name": "again"}]
    correlation = {
        "type": "temporal_ordered",
        "rules": ["first", "again"],
        "group-by": ["UserId"],
        "timespan": "1h",
    }
    correlated = parse_sigma_rule(made("event_count").path, text(correlation, rules))

    assert empty.rows(correlated, at(100)) == []
    assert len(empty.rows(correlated, at(100, 100))) == 1


def test_all_steps_must_fit_into_the_window(empty: Bench) -> None:
    correlated = made("temporal_ordered", rules=["first", "second", "third"])
    fits = steps(("first", 9000), ("first", 3000), ("second", 2000), ("third", 1000))
    long = steps(("first", 5000), ("second", 3000), ("third", 1000))

    (row,) = empty.rows(correlated, fits)

    assert row["FirstSeen"] == fits[1].time
    assert row["Records"] == 3
    assert empty.rows(correlated, long) == []


def test_some_of_the_rules_suffice_where_the_condition_says_so(empty: Bench) -> None:
    correlated = made("temporal", rules=["first", "second", "third"], condition={"gte": 2})

    assert len(empty.rows(correlated, steps(("first", 300), ("third", 100)))) == 1
    assert empty.rows(correlated, steps(("first", 300), ("first", 100))) == []


@pytest.mark.parametrize(
    ("condition", "fires"),
    [
        ({"gte": 2.5}, {3, 4}),
        ({"gte": 2, "lte": 3, "neq": 2}, {3}),
    ],
)
def test_limits_with_a_fraction_and_ranges_hold(
    empty: Bench, condition: dict[str, object], fires: set[int]
) -> None:
    events = [Event(10 * n + i, 100, user=f"user{n}") for n in range(1, 5) for i in range(n)]

    rows = empty.rows(made("event_count", condition=condition), events)

    assert {row["EventCount"] for row in rows} == fires


def test_a_value_that_is_not_a_number_is_left_out(empty: Bench) -> None:
    correlated = made("value_sum", condition={"gte": 3, "field": "Some.Thing"})
    events = [
        Event(1, 300, more={"Some": {"Thing": "2.5"}}),
        Event(2, 200, more={"Some": {"Thing": "many"}}),
        Event(3, 150),
        Event(4, 100, more={"Some": {"Thing": 1}}),
    ]

    assert [row["ValueSum"] for row in empty.rows(correlated, events)] == [3.5]


def test_two_fields_are_counted_together(empty: Bench) -> None:
    fields = ["ClientIP", "ObjectId"]
    correlated = made("value_count", condition={"gte": 3, "field": fields})
    pairs = [("192.0.2.1", "a"), ("192.0.2.1", "b"), ("192.0.2.2", "a"), ("192.0.2.2", "")]
    events = [
        Event(n, 100, more={"ClientIP": address, "ObjectId": thing})
        for n, (address, thing) in enumerate(pairs)
    ]

    assert [row["ValueCount"] for row in empty.rows(correlated, events)] == [3]
    assert empty.rows(correlated, events[1:]) == []


@pytest.mark.parametrize("table", ["M365Activity_CL", "OfficeActivity", "CloudAppEvents"])
def test_every_table_is_read(empty: Bench, table: str) -> None:
    empty.put(at(300, 200, 100), table)

    assert len(empty.ask(made("event_count"))) == 1


def test_a_record_that_came_twice_counts_once(empty: Bench) -> None:
    twice = [Event(1, 300), Event(1, 300), Event(2, 100)]

    assert empty.rows(made("event_count"), twice) == []


@pytest.mark.parametrize("type_", CONDITIONS)
def test_defender_gets_the_same_answer_with_the_columns_it_demands(
    empty: Bench, type_: str
) -> None:
    fires = next(events for name, events in FIRING if name == type_)
    silent = next(events for name, events in SILENT if name == type_)
    last = max(fires, key=lambda event: event.time)

    empty.put([*fires, *of_users(1, silent)], "CloudAppEvents")
    (row,) = empty.ask(made(type_), DEFENDER)

    assert row["UserId"] == "adele"
    assert row["Timestamp"] == last.time
    assert row["ReportId"] == f"report-{last.id}"
    assert row["AccountObjectId"] == "object-adele"


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Validator(FUNCTIONS) as made_:
        yield made_


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("type_", CONDITIONS)
def test_microsofts_parser_accepts_every_correlation(
    validator: Validator, type_: str, target: str
) -> None:
    aliases = {"who": {"first": "UserId", "second": "ObjectId"}}
    many = made(type_, aliases=aliases, group_by=["who"], rules=["first", "second"])

    for one in (made(type_), many):
        analysis = validator.analyse(to_kql(one, ROOT, TARGETS[target]))

        assert analysis.diagnostics == ()
        assert {*one.by, "Verdict", "WindowEnd", "FirstSeen"} <= set(analysis.columns)
        assert TYPES[type_] in {"", *analysis.columns}


def test_microsofts_parser_accepts_the_parts_of_a_hunt(validator: Validator) -> None:
    one = made("temporal")
    hunted = [
        "\n".join(record_rows(one, ROOT)),
        arrivals(one, ROOT, "1d", first_only=False),
        "let Fired = datatable(UserId:string, Since:datetime, Until:datetime)[];\n"
        + whole_causes(one, ROOT, "Fired"),
    ]

    for kql in hunted:
        assert validator.analyse(kql.replace(ARRIVED, "Arrived_")).diagnostics == ()


def test_the_window_of_a_correlation_is_declared_at_the_top() -> None:
    lines = to_kql(made("event_count", timespan="2w"), ROOT).splitlines()

    assert lines[2:6] == [
        "let frequency = 1h;",
        "let delay = 5m;",
        "let late = 2d;",
        "let window = 14d;",
    ]


# The same over random events, against a reference that knows no slots and no joins.

SPAN = 10
"""Timespan in seconds; the run sees the last 25 of 40 seconds."""

NUMBER: dict[str, object] = {"field": "Some.Amount"}
RANDOM: list[tuple[str, dict[str, object]]] = [
    ("event_count", {"gte": 3}),
    ("event_count", {"lt": 3, "gt": 1.5}),
    ("event_count", {"eq": 2}),
    ("event_count", {"neq": 1}),
    ("value_count", {"field": "ClientIP", "gte": 2}),
    ("value_count", {"field": "ClientIP", "lte": 1}),
    ("value_sum", {**NUMBER, "gt": 7}),
    ("value_sum", {**NUMBER, "gte": 2, "lte": 8.5}),
    ("value_avg", {**NUMBER, "gte": 3.5}),
    ("value_avg", {**NUMBER, "lt": 1}),
    ("value_percentile", {**NUMBER, "percentile": 50, "gte": 2}),
    ("value_percentile", {**NUMBER, "percentile": 90, "eq": 7}),
    ("temporal", {"gte": 3}),
    ("temporal", {"eq": 2}),
]


def random_events(seed: int) -> list[Event]:
    """Return some events of each of many users; one user has no name."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    events: list[Event] = []
    for user in ["", *(f"user{number}" for number in range(120))]:
        for _ in range(dice.randint(1, 8)):
            more: dict[str, object] = {
                "ClientIP": dice.choice(["", "192.0.2.1", "192.0.2.2", "192.0.2.3"]),
                "Some": {"Amount": dice.choice([None, 0, 1, 2, 2.5, 7])},
            }
            operation = dice.choice(list(OPERATIONS))
            events.append(Event(len(events), dice.randint(0, 40), operation, user, more))
    return events


def amounts(window: Sequence[Event]) -> list[float]:
    found = [e.more["Some"]["Amount"] for e in window]  # type: ignore[index]  # a mapping
    return sorted(float(value) for value in found if value is not None)


def at_percentile(numbers: Sequence[float], percentile: object) -> float:
    """Return the nearest rank."""
    return numbers[math.ceil(len(numbers) * float(str(percentile)) / 100) - 1]


def measured(type_: str, window: Sequence[Event], percentile: object) -> float | None:
    """Return what the condition is about, None where there is no value."""
    numbers = amounts(window)
    addresses = {e.more["ClientIP"] for e in window} - {""}
    values: dict[str, float | None] = {
        "event_count": len(window),
        "temporal": len({e.operation for e in window}),
        "value_count": len(addresses) or None,
    }
    if numbers:
        values["value_sum"] = sum(numbers)
        values["value_avg"] = sum(numbers) / len(numbers)
        values["value_percentile"] = at_percentile(numbers, percentile or 1)
    return values.get(type_)


def expected(
    type_: str, events: Sequence[Event], condition: Mapping[str, object]
) -> dict[str, datetime]:
    """Return the end of the first window that ends in time and meets all limits, by user."""
    found: dict[str, datetime] = {}
    for end in sorted(events, key=lambda e: -e.before):
        window = [
            e for e in events if e.user == end.user and end.before <= e.before < end.before + SPAN
        ]
        value = measured(type_, window, condition.get("percentile"))
        limits = {o: float(str(n)) for o, n in condition.items() if o in COMPARED}
        met = value is not None and all(COMPARED[o](value, n) for o, n in limits.items())
        if end.user and end.before < 25 and met:
            found.setdefault(end.user, end.time)
    return found


def chained(events: Sequence[Event], rules: Sequence[str]) -> dict[str, datetime]:
    """Return the first end of a chain of all *rules* in turn, by user."""
    chains = [(e, e) for e in events if e.operation == rules[0] and e.user]
    for name in rules[1:]:
        chains = [
            (start, e)
            for start, last in chains
            for e in events
            if e.operation == name
            and e.user == last.user
            and e.before <= last.before
            and start.before - e.before < SPAN
        ]
    ends = sorted((e for _, e in chains if e.before < 25), key=lambda e: e.before)
    return {e.user: e.time for e in ends}


@pytest.fixture(scope="module")
def crowd() -> Iterator[tuple[Bench, list[Event]]]:
    events = random_events(1)
    with bench() as made_:
        made_.put(events)
        yield made_, events


@pytest.mark.parametrize(("type_", "condition"), RANDOM)
def test_random_events_correlate_as_in_plain_python(
    crowd: tuple[Bench, list[Event]], type_: str, condition: dict[str, object]
) -> None:
    crowded, events = crowd
    correlated = rule(type_, rules=list(OPERATIONS), condition=condition, timespan=f"{SPAN}s")
    wanted = expected(type_, events, condition)

    rows = crowded.ask(correlated, recent="25s")

    assert {row["UserId"]: row["WindowEnd"] for row in rows} == wanted
    assert 0 < len(wanted) < 120


@pytest.mark.parametrize("rules", [["first", "second"], ["third", "first", "second"]])
def test_random_events_follow_each_other_as_in_plain_python(
    crowd: tuple[Bench, list[Event]], rules: list[str]
) -> None:
    crowded, events = crowd
    correlated = rule("temporal_ordered", rules=rules, timespan=f"{SPAN}s")
    wanted = chained(events, rules)

    rows = crowded.ask(correlated, recent="25s")

    assert {row["UserId"]: row["WindowEnd"] for row in rows} == wanted
    assert 0 < len(wanted) < 120
