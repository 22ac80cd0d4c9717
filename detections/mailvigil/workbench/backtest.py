"""Replay rules on their own schedule over attacks and over an ordinary month; count what fires.

An alert belongs to an attack when the same rule, at the same moment, does not give it on the same
tenant without the attack. Nothing has to be known about the traces of the attack.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

import duckdb

from mailvigil.compiler.compile import to_kql
from mailvigil.engine.embedded import Engine, NotRunError, Query, QueryError
from mailvigil.engine.loaded_columns import ColumnChoice
from mailvigil.engine.row_values import ResultRow
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import RuleError
from mailvigil.lab.tenant.attacks.story import Attack, World, happened
from mailvigil.lab.tenant.people import tenant_of
from mailvigil.lab.tenant.profile import Profile
from mailvigil.lab.tenant.uses import ordinary_life
from mailvigil.lab.tenant.workspace_rows import commit, fill
from mailvigil.rules.arrival import DELAY
from mailvigil.rules.content import Function
from mailvigil.rules.metadata import INSUFFICIENT
from mailvigil.rules.rule import Rule
from mailvigil.workbench.work_progress import WorkProgress

HOURLY = timedelta(hours=1)

MINUTE = timedelta(minutes=1)

NRT_DELAY = timedelta(minutes=2)
"""https://learn.microsoft.com/azure/sentinel/near-real-time-rules"""

SAME_CAUSE = timedelta(days=1)
"""An alert with the key of one that is at most so much older is not a new one: hourly rules look at
a whole day, and incidents are grouped."""

MOST_HIGH, MOST_ALL = 1.0, 5.0
"""Alerts a day that an owner can read, at High and at all severities: the pack's own goal."""

ATTACK_MAILBOXES = 500
"""Attacks are replayed in a tenant of at most that size: it costs time, and finds no more."""

LATENESS = timedelta(hours=30)
"""How much later the records of a late attack arrive. Microsoft promises no time:
https://learn.microsoft.com/purview/audit-search."""

LATE_ATTACKS = 5
"""Of so many attacks one is late, where late ones are asked for."""

_EPOCH = datetime.fromtimestamp(0, UTC)

AlertKey = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A query on its schedule. ``step`` is the time between two runs, ``near_real_time`` NRT."""

    name: str
    severity: str
    text: str
    by: tuple[str, ...]
    step: timedelta
    near_real_time: bool = False
    of_pack: bool = True


@dataclass(frozen=True, slots=True)
class Fired:
    """One rule's first alert about an attack, and how long after the attack's first record."""

    rule: str
    at: datetime
    delay: timedelta


@dataclass(frozen=True, slots=True)
class Fought:
    """One attack, and the rules that fired on it, the first first."""

    attack: Attack
    fired: tuple[Fired, ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """One rule's alerts in an ordinary month: how many began on each judged day.

    ``alerts`` is how many there were in all runs, with those that say the same again.
    """

    candidate: Candidate
    days: tuple[int, ...]
    alerts: int = 0

    @property
    def a_day(self) -> float:
        """Alerts a day, on average."""
        return sum(self.days) / len(self.days)

    @property
    def each(self) -> float:
        """How often the service alerts on one cause: an NRT rule once, as it sees a record once."""
        if self.candidate.near_real_time or not any(self.days):
            return float(any(self.days))
        return self.alerts / sum(self.days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """The result of a backtest.

    ``month`` is that of the noise, None when only attacks were replayed.
    """

    candidates: tuple[Candidate, ...]
    attack_month: Profile
    fought: tuple[Fought, ...]
    month: Profile | None = None
    records: int = 0
    noise: tuple[Noise, ...] = ()

    def a_day(self, severities: Collection[str] | None = None) -> float:
        """Return the pack's incidents a day, at *severities* or at all."""
        return sum(
            noise.a_day
            for noise in self.noise
            if noise.candidate.of_pack
            and (severities is None or noise.candidate.severity in severities)
        )

    @property
    def missed(self) -> Mapping[str, tuple[str, ...]]:
        """Attacks that the pack is meant to catch, and those rules that did not fire on them."""
        missed_rules = {}
        for fight in self.fought:
            fired = {f.rule for f in fight.fired}
            silent = tuple(r for r in expected().get(fight.attack.name, ()) if r not in fired)
            missed_rules.update({fight.attack.name: silent} if silent else {})
        return missed_rules

    @property
    def broken(self) -> bool:
        """Whether the pack makes more alerts than its budget allows."""
        return self.a_day({"High"}) > MOST_HIGH or self.a_day() > MOST_ALL


@cache
def expected() -> Mapping[str, tuple[str, ...]]:
    """Return for every attack the rules that must fire on it."""
    text = (files("mailvigil.lab.tenant.attacks") / "expected.json").read_text(encoding="utf-8")
    return {name: tuple(rules) for name, rules in json.loads(text).items()}


def candidate(rule: Rule, root: Path) -> Candidate:
    """Return *rule* of the pack on its schedule; one that says none runs hourly."""
    near_real_time = rule.schedule.near_real_time
    return Candidate(
        name=rule.name,
        severity=rule.severity,
        text=to_kql(rule, root),
        by=rule.by,
        step=HOURLY if near_real_time else rule.schedule.between_runs,
        near_real_time=near_real_time,
    )


def attack_world(month: Profile) -> World:
    """Return where attacks happen in *month*: they begin on the second judged day."""
    return World(tenant_of(month), month.seed, month.midnight(month.learning + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSetup:
    """The queries, functions and folder of a backtest.

    ``workers`` rules or attacks are judged at a time. ``late``: the records of one attack in
    ``LATE_ATTACKS`` arrive ``LATENESS`` later.
    """

    candidates: tuple[Candidate, ...]
    functions: tuple[Function, ...]
    scratch: Path
    progress: WorkProgress
    workers: int = 2
    late: bool = False

    def make(self, month: Profile, name: str) -> tuple[Path, int]:
        """Make the workspace of *month* and return its file and how many records it holds."""
        file = self.scratch / f"{name}.duckdb"
        self.progress.phase(f"making {month.mailboxes:,} mailboxes, {month.days} days", 0)
        con = open_workspace(file, self.scratch)
        try:
            return file, fill(con, month, ordinary_life(month), self.scratch)
        finally:
            con.close()

    @contextmanager
    def opened(self, file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a workspace whose queries each run in the thread that asks."""
        con = open_workspace(file, self.scratch)
        try:
            con.execute("SET threads = 1")
            yield con
        finally:
            con.close()

    def engine(self, con: duckdb.DuckDBPyConnection) -> Engine:
        """Return an engine on *con* with the functions' rows materialised."""
        engine = Engine(con, self.functions)
        engine.materialise(ColumnChoice.of_queries(c.text for c in self.candidates))
        return engine

    def queries(self, engine: Engine) -> Mapping[str, Query]:
        """Return every candidate's query by name.

        Raises:
            RuleError: The local engine cannot run one.

        """
        prepared, problems = {}, []
        for candidate in self.candidates:
            try:
                prepared[candidate.name] = engine.prepare(candidate.text)
                engine.run(prepared[candidate.name], _EPOCH)
            except (NotRunError, QueryError) as error:
                problems.append(f"{candidate.name}: cannot be run: {error} (write it otherwise)")
        if problems:
            raise RuleError(problems)
        return prepared


def fight(
    setup: BacktestSetup, base: Path, month: Profile, chosen: Sequence[Attack]
) -> tuple[Fought, ...]:
    """Replay each of *chosen* in a copy of the tenant *base* and return what fired."""
    setup.progress.phase("replaying attacks", len(chosen))
    with setup.opened(_copy(setup, base, "without")) as con:
        without = _Without(setup, con)

        def fought_by(numbered: tuple[int, Attack]) -> Fought:
            number, attack = numbered
            later = LATENESS if setup.late and number % LATE_ATTACKS == 0 else timedelta(0)
            fought = _fight(setup, base, month, attack, later, without)
            setup.progress.advance()
            return fought

        with ThreadPoolExecutor(setup.workers) as pool:
            return tuple(pool.map(fought_by, enumerate(chosen)))


class _Without:
    """The same tenant without an attack, asked only where an attack's has rows. Thread-safe."""

    def __init__(self, setup: BacktestSetup, con: duckdb.DuckDBPyConnection) -> None:
        self._engine = setup.engine(con)
        self._queries = setup.queries(self._engine)
        self._found: dict[tuple[str, datetime], frozenset[AlertKey]] = {}
        self._lock = Lock()

    def keys(self, candidate: Candidate, run_at: datetime) -> frozenset[AlertKey]:
        """Return the keys of *one*'s alerts at *run_at*."""
        with self._lock:
            if (candidate.name, run_at) not in self._found:
                rows = self._engine.run(self._queries[candidate.name], run_at)
                self._found[candidate.name, run_at] = _keys(candidate, rows)
            return self._found[candidate.name, run_at]


def _copy(setup: BacktestSetup, file: Path, name: str) -> Path:
    return shutil.copyfile(file, setup.scratch / f"{name}.copy.duckdb")


def _fight(
    setup: BacktestSetup,
    base: Path,
    month: Profile,
    attack: Attack,
    later: timedelta,
    without: _Without,
) -> Fought:
    file = _copy(setup, base, attack.name)
    with setup.opened(file) as con:
        arrivals = commit(con, attack, month.seed, later)
        engine = setup.engine(con)
        queries = setup.queries(engine)
        first = min(happened(record) for record in attack.records)
        fired = []
        for candidate in setup.candidates:

            def seen(
                runs: Sequence[datetime], candidate: Candidate = candidate
            ) -> Iterator[datetime]:
                for run_at, rows in engine.run_at_each(queries[candidate.name], runs):
                    keys = _keys(candidate, rows)
                    if keys and keys - without.keys(candidate, run_at):
                        yield run_at

            run_at = first_alert(candidate, arrivals, month.judged[1], seen)
            if run_at is not None:
                fired.append(Fired(candidate.name, run_at, run_at - first))
    file.unlink()
    return Fought(attack, tuple(sorted(fired, key=lambda f: (f.at, f.rule))))


def first_alert(
    candidate: Candidate,
    arrivals: Sequence[datetime],
    until: datetime,
    seen: Callable[[Sequence[datetime]], Iterable[datetime]],
) -> datetime | None:
    """Return the first run at which *candidate* sees an attack, or None.

    *seen* gives those of some runs, in order, at which it does.

    A rule that runs hourly is run when a new record of the attack had come since its last run, when
    the service hands the record to it, and a day later, when a caller counts as known; one that
    runs less often at every run up to *until*, because it may look for what did not come. An NRT
    rule is run hourly first, and then in that hour two minutes after the minute of each record:
    what it sees it also sees at the hour's end.
    """
    if candidate.step > HOURLY:
        return next(iter(seen(schedule(candidate.step, min(arrivals), until))), None)
    shifts = (timedelta(0), DELAY, SAME_CAUSE, SAME_CAUSE + DELAY)
    hours = sorted({_after(time + shift, candidate.step) for time in arrivals for shift in shifts})
    hour = next(iter(seen(hours)), None)
    if hour is None or not candidate.near_real_time:
        return hour
    came = [time for time in arrivals if hour - candidate.step < time <= hour]
    minutes = sorted({_after(time, MINUTE) + NRT_DELAY for time in came})
    return next(iter(seen(minutes)), hour)


def schedule(step: timedelta, since: datetime, until: datetime) -> list[datetime]:
    """Return the multiples of *step* (since 1970) in (*since*, *until*]."""
    first = _after(since + timedelta(microseconds=1), step)
    return [first + step * n for n in range((until - first) // step + 1)] if first <= until else []


def _after(time: datetime, step: timedelta) -> datetime:
    """Return the first multiple of *step* at *time* or after."""
    return _EPOCH - (_EPOCH - time) // step * step


def listen(setup: BacktestSetup, file: Path, month: Profile) -> tuple[Noise, ...]:
    """Run every candidate through the judged days of *month* and count its alerts.

    NRT rules run hourly here: which causes they find in a day is the same.
    """
    moments = {
        candidate.name: schedule(max(candidate.step, HOURLY), month.judged[0], month.judged[1])
        for candidate in setup.candidates
    }
    setup.progress.phase("an ordinary month", sum(map(len, moments.values())))
    with setup.opened(file) as con:
        engines: SimpleQueue[Engine] = SimpleQueue()
        for _ in range(setup.workers):
            engines.put(setup.engine(con))

        def noise_of(judged: Candidate) -> Noise:
            # Borrowed: an engine's moment is per connection, so two threads must not share one.
            engine = engines.get()
            try:
                on_run = setup.progress.advance
                return _listen(engine, judged, moments[judged.name], month, on_run)
            finally:
                engines.put(engine)

        with ThreadPoolExecutor(setup.workers) as pool:
            return tuple(pool.map(noise_of, setup.candidates))


def _listen(
    engine: Engine,
    candidate: Candidate,
    moments: Sequence[datetime],
    month: Profile,
    on_evaluation: Callable[[], None],
) -> Noise:
    query = engine.prepare(candidate.text)
    days = [0] * (month.days - month.learning)
    last: dict[AlertKey, datetime] = {}
    alerts = 0
    for run_at, rows in engine.run_at_each(query, moments):
        for key in _keys(candidate, rows):
            alerts += 1
            if key not in last or run_at - last[key] > SAME_CAUSE:
                days[_day_of(run_at, month)] += 1
            last[key] = run_at
        on_evaluation()
    return Noise(candidate, tuple(days), alerts)


def _day_of(run_at: datetime, month: Profile) -> int:
    """Return the judged day that *run_at* ends or lies in; midnight belongs to the day before."""
    return (run_at - month.judged[0] - timedelta(microseconds=1)) // timedelta(days=1)


def _keys(candidate: Candidate, rows: Sequence[ResultRow]) -> frozenset[AlertKey]:
    return frozenset(
        tuple(row[name] for name in candidate.by)
        for row in rows
        if row.get("Verdict") != INSUFFICIENT
    )
