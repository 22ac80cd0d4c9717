"""Play histories of faults with both programs, and demand what must hold.

A seed draws a feed, a ledger, a sink, clocks and a weather. A program of the connector runs in it
as it is deployed: the real feed client over the model of the feed, the real collector on the real
SQLite ledger, or the Function app's triggers on the real ledger in tables. Its edges are played.

Play seeds again with
``PYTHONPATH=tests .venv/bin/python -P -m connector.simulation.simulate [collector|function] SEED``.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, count, product, repeat
from pathlib import Path
from random import Random

from audit_feed.azure_app.triggers import health
from audit_feed.blobs import Stream
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.statement import HourState, HourStatement
from audit_feed.ledger.states import BlobRow, BlobState
from audit_feed.ledger.table import TableLedger
from audit_feed.settings import Settings
from audit_feed.windows import (
    EDGE,
    HOUR,
    MARGIN,
    RETENTION,
    SECOND,
    SKEW,
    Window,
    first_whole_hour,
    hour_of,
)
from connector.simulation.collector_program import (
    CollectorProgram,
    retry_rejected,
    rows,
    statements,
)
from connector.simulation.feed_side import FeedSide, signature_of
from connector.simulation.function_program import FunctionProgram
from connector.simulation.history import Plan, ended, plan_of, publish, subscribe
from connector.simulation.installed import connected
from connector.simulation.proxy import Proxy
from connector.simulation.truth import TOLERANCE, Truth, key_of
from connector.simulation.workspace import OTHER_RULE, RULE, Workspace
from connector.simulation.world import CALM, START, Broken, Weather, World, demand
from mailvigil.lab.server.contents import Blob
from mailvigil.lab.server.feed_model import FeedModel, TokenTable
from mailvigil.lab.server.options import FeedOptions

AGAIN = "PYTHONPATH=tests .venv/bin/python -P -m connector.simulation.simulate"
"""The command that plays a seed again, from the project's folder."""

PROGRAMS = ("collector", "function")
FIRST_PAUSES = tuple(timedelta(minutes=n) for n in (6, 61))
"""Between the first turns in the calm."""

SHOWN_STEPS = 60
FAST = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


@dataclass(slots=True)
class Played:
    """A history: what was played, and what came of it."""

    world: World
    feed: FeedSide
    workspace: Workspace
    truth: Truth
    plan: Plan
    program: CollectorProgram | FunctionProgram
    calm: datetime = START
    given_up: bool = False

    @property
    def doubled(self) -> int:
        """Rows that the workspace has taken more than once."""
        return sum(count - 1 for count in self.workspace.taken.values())


def play(seed: int, program: str, folder: Path) -> Played:
    """Play one history to its end and return what is left.

    Raises:
        Broken: Something that must hold did not; the message says what and after which steps.

    """
    there = _made(seed, program, folder)
    world = there.world
    try:
        with connected(world, there.feed, there.workspace):
            try:
                _rough(there)
                _calm(there)
                _check_end(there)
            finally:
                world.tasks.end()
    except Broken as broken:
        last = "\n  ".join(f"{at:%d %H:%M:%S} {what}" for at, what in world.steps[-SHOWN_STEPS:])
        again = f"again: {AGAIN} {program} {seed}"
        raise Broken(f"seed {seed}: {broken}\nafter\n  {last}\n{again}") from None
    finally:
        if isinstance(there.program, CollectorProgram):
            there.program.close()
    return there


def _made(seed: int, program: str, folder: Path) -> Played:
    """Draw a world from its seed."""
    dice = Random(seed * 2 + PROGRAMS.index(program))  # noqa: S311 - no secret
    world = World(seed, dice, Weather.drawn(dice))
    world.service_offset = timedelta(seconds=dice.choice((0, 0, 0, 90, -90, 4_000, -5_000)))
    plan = plan_of(dice)
    tokens = TokenTable()
    options = FeedOptions(
        page_size=dice.choice((1, 2, 5, 200)),
        clock_offset=world.service_offset,
        first_blob_delay=timedelta(hours=dice.choice((0, 0, 2, plan.scale.first_blob))),
        lists_sizes=True,
        forgets_on_restart=dice.random() < 0.2,
    )
    model = FeedModel(
        authenticate=lambda token, at: tokens.authenticate(signature_of(token), at),
        options=options,
    )
    subscribe(model, plan, dice)
    blobs = publish(model, plan, dice)
    proxy = Proxy.drawn(Random(f"{program} {seed}"))  # noqa: S311 - no secret
    feed = FeedSide(world, model, tokens, proxy)
    poisoned = frozenset(r for blob in blobs for r in blob.record_ids or () if r.startswith("bad"))
    workspace = Workspace(world, dice.choice((1_048_576, 1_048_576, 9_000)), poisoned)
    truth = Truth(world, feed, workspace, blobs)
    settings = _settings(plan, folder)
    made: CollectorProgram | FunctionProgram
    if program == "collector":
        made = CollectorProgram(world, plan, settings, folder / "ledger.sqlite")
        made.process.offset = _offset(dice)
    else:
        made = FunctionProgram(world, plan, settings)
        for instance in made.instances:
            instance.process.offset = _offset(dice)
        made.on_death = lambda: _excuse(feed)
    return Played(world, feed, workspace, truth, plan, made)


def _offset(dice: Random) -> timedelta:
    return timedelta(seconds=dice.choice((0, 0, 0, 0, 1, -600, 700, 5_000, -200_000, 700_000)))


def _settings(plan: Plan, folder: Path) -> Settings:
    tenants: dict[str, list[str]] = {}
    for stream in plan.streams:
        tenants.setdefault(stream.tenant, []).append(stream.content_type)
    sink = {
        "kind": "loganalytics",
        "endpoint": "https://sink.example",
        "dcr": RULE,
        "stream": "Custom-M365Activity_CL",
    }
    data = {
        "tenants": [{"id": id_, "content_types": kinds} for id_, kinds in tenants.items()],
        "sink": sink,
        "since": f"{plan.since // HOUR}h",
        "ledger": "ledger.sqlite",
        "workers": 3,
    }
    return Settings.load(data, folder)


def _excuse(feed: FeedSide) -> None:
    """Demand nothing of what a process has read in this turn and could not note."""
    for listing in feed.log.chains:
        listing.excused = listing.excused or not listing.whole
    for times in feed.log.absent.values():
        times.difference_update({time for time in times if time >= feed.log.turn})


def _rough(there: Played) -> None:
    """Run with faults: passes, kills, restarts and downtime."""
    world = there.world
    for _ in range(world.dice.randrange(2, 9)):
        _turn(there)
        _wait(world, there.plan)
        if world.dice.random() < 0.05:
            _retarget(there)
        if world.happens(0.1):
            there.program.restart()
        if world.happens(0.2):
            _retry(there)
        if world.happens(0.1):
            world.weather = Weather.drawn(world.dice)


def _turn(there: Played) -> None:
    """Let the program do what it would do now, and check what it says then."""
    world, program = there.world, there.program
    there.feed.log.turn = world.service()
    if isinstance(program, CollectorProgram):
        if not program.turn():
            _excuse(there.feed)
    else:
        _function_turn(program, world.dice)
        _check_health(there, program)
        program.check_rows()
    _check_taken_back(there)
    check(there)


def _check_taken_back(there: Played) -> None:
    """Demand that no listing lies in the future once the program has listed by the right time.

    By the end of a stream's newest window it is seen what time the program believed in. A worker of
    the app sees what another one has marked only a few calls later: of it this is not demanded.
    """
    log = there.feed.log
    if not log.lied or not isinstance(there.program, CollectorProgram):
        return
    with _ledgers(there) as found:
        for store, stream in product(found, there.plan.streams):
            asked = [c for c in log.chains if c.stream == stream and c.asked >= log.turn]
            if not asked or any(c.window.end > c.asked + SKEW / 2 for c in asked):
                continue
            open_from = min(c.asked for c in asked) - HOUR - MARGIN
            latest = max(c.asked for c in asked) + 2 * SKEW
            for hour, known in store.listings(stream, hour_of(open_from)).items():
                ahead = known.at and not known.problem and known.at > latest and hour > open_from
                name = f"{stream.content_type} {hour:%d %H}h"
                demand(not ahead, f"{name} stays listed at {known.at}, in the future")


def _function_turn(program: FunctionProgram, dice: Random) -> None:
    """Let timers and messages of the app run at once."""
    if dice.random() < 0.3:
        program.hint()
    calls = [program.call("discover")]
    if dice.random() < 0.3:
        calls.append(program.call("sweep"))
    program.together([*calls, *program.calls_for(dice.choice((0, 1, 4)))])
    for _ in range(dice.choice((0, 1, 2))):
        program.hand_out(dice.choice((1, 4, 16)))
    if dice.random() < 0.4:
        program.timer("sweep")


def _check_health(there: Played, program: FunctionProgram) -> None:
    """Demand that ``/health`` is 200 only if every stream was listed in the last half hour."""
    with _quiet(there.world):
        if there.feed.log.lied or not program.is_healthy():
            return
    there.world.counts["healthy"] += 1
    earliest = there.world.service() - health.MAX_AGE - TOLERANCE
    recent = {c.stream for c in there.feed.log.chains if c.whole and c.asked >= earliest}
    for stream in there.plan.streams:
        demand(stream in recent, f"/health is 200, but {stream.content_type} was not listed")


def _retarget(there: Played) -> None:
    """Give the program another sink for a turn: it must send nothing there, nor say "complete"."""
    with _ledgers(there) as found:
        delivered = any(
            row.state is BlobState.DELIVERED
            for store, stream in product(found, there.plan.streams)
            for row in rows(store, stream, there.world.service())
        )
    if not delivered:
        return
    program, before = there.program, there.program.settings
    there.world.counts["other sinks"] += 1
    values = {**before.sink.values, "dcr": OTHER_RULE}
    program.settings = replace(before, sink=replace(before.sink, values=values))
    _restart_all(program)
    _turn(there)
    program.settings = before
    _restart_all(program)


def _restart_all(program: CollectorProgram | FunctionProgram) -> None:
    if isinstance(program, CollectorProgram):
        program.restart()
    else:
        program.restart_all()


def _wait(world: World, plan: Plan) -> None:
    """Let time go by: mostly a minute, at times hours or days."""
    outages = (hours * 3_600 for hours in plan.scale.outages)
    length = world.dice.choice((60,) * 6 + (600, 3_600, 3_600, *outages))
    world.now += timedelta(seconds=length)


@contextmanager
def _quiet(world: World) -> Iterator[None]:
    """Let nothing happen while the operator looks."""
    world.quiet = True
    try:
        yield
    finally:
        world.quiet = False


@contextmanager
def _ledgers(there: Played) -> Iterator[Sequence[SqliteLedger | TableLedger]]:
    """Open the ledger as an operator does, with nothing happening, if there is one."""
    program = there.program
    with _quiet(there.world):
        yield [program.read()] if program.has_ledger() else []


def check(there: Played, back: timedelta | None = None) -> None:
    """Demand that no hour is called complete that is not, of all that the history is about."""
    now = there.world.service()
    start = now - back if back else max(there.plan.scale.earliest, now - RETENTION - 2 * HOUR)
    with _ledgers(there) as found:
        for store, stream in product(found, there.plan.streams):
            hours = _stated(store, stream, Window(start, now))
            there.truth.check(stream, hours, list(store.parked(stream)))
            there.given_up = there.given_up or any(hour.rejected for hour in hours)


def _stated(
    store: SqliteLedger | TableLedger, stream: Stream, window: Window
) -> Sequence[HourStatement]:
    """Return what an operator is told of the hours of *window*, at its end."""
    if isinstance(store, TableLedger):
        return store.snapshots.read(stream, window, window.end).statements
    return statements(store, stream, window, window.end)


def _retry(there: Played) -> None:
    """Ask for the rejected blobs again, as ``mailvigil ledger retry`` does."""
    there.given_up = False
    with _ledgers(there) as found:
        for store, stream in product(found, there.plan.streams):
            retry_rejected(store, stream, there.world.service())


def _calm(there: Played) -> None:
    """Run without faults until all that was ever shown has been listed to its end."""
    world = there.world
    there.feed.lies.clear()
    there.feed.no_role_until = there.feed.wrong_date = None
    # What the programs were asked to wait for, they wait for.
    world.now = max(world.now, there.workspace.held_until or world.now)
    world.weather, there.calm = CALM, world.now
    there.program.restart()
    last = max(world.now, ended(there.truth.blobs) - world.service_offset) + timedelta(
        hours=there.plan.scale.calm
    )
    there.feed.proxy.end()
    there.feed.proxy.ends = last - there.plan.scale.pause
    check(there)
    if there.given_up:
        _retry(there)
    pauses = chain(FIRST_PAUSES, repeat(there.plan.scale.pause))
    for turn in count():
        pause = next(pauses)
        at_end = world.now + pause >= last
        # What a sweep does costs more than all else: it states the seven days.
        _calm_turn(there, sweeps=at_end or turn % 2 == 0)
        _check_taken_back(there)
        if at_end or turn < len(FIRST_PAUSES):
            check(there)
        world.now += pause
        if world.now >= last + there.plan.scale.pause:
            return


def _calm_turn(there: Played, *, sweeps: bool) -> None:
    program = there.program
    there.feed.log.turn = there.world.service()
    if isinstance(program, CollectorProgram):
        demand(program.turn(), "the collector ends though all is calm")
        return
    demand(program.timer("discover"), "discover fails though all is calm")
    for _ in range(200):
        if not program.hand_out(16):
            break
    if not sweeps:
        return
    demand(program.timer("sweep"), "sweep fails though all is calm")
    for _ in range(200):
        if not program.hand_out(16):
            break


def _check_end(there: Played) -> None:
    """Demand that nothing is left to do, and nothing was lost that the feed kept long enough."""
    check(there, back=timedelta(days=20))
    with _ledgers(there) as found:
        demand(found, "there is no ledger in the end")
        for store, stream in product(found, there.plan.streams):
            _check_stream(there, store, stream)


def _check_stream(there: Played, store: SqliteLedger | TableLedger, stream: Stream) -> None:
    found = {row.blob.id: row for row in rows(store, stream, there.world.service())}
    listed = [row.blob.id[-12:] for row in found.values() if row.state is BlobState.LISTED]
    demand(not listed, f"{stream.content_type}: left to do: {listed}")
    for blob in there.truth.blobs:
        if (blob.tenant, blob.content_type) == (stream.tenant, stream.content_type):
            _check_blob(there, stream, blob, found.get(blob.id))
    _check_settled(there, store, stream)
    _check_sent(there, stream)


def _check_blob(there: Played, stream: Stream, blob: Blob, row: BlobRow | None) -> None:
    """Demand that a blob which could be had long enough without faults is delivered."""
    model, calm = there.feed.model, there.calm + there.world.service_offset
    subscription = model.subscriptions.of(blob.tenant, blob.content_type)
    if not subscription.covers(blob.created):
        return
    seen = max(blob.available, subscription.started(blob.created) + model.options.first_blob_delay)
    begin = max(seen, calm)
    until = blob.expires - EDGE - SECOND - timedelta(hours=30) - there.plan.scale.pause
    wanted = blob.created >= max(hour_of(calm - there.plan.since), first_whole_hour(calm))
    gone = model.options.forgets_on_restart or any(
        c.at > blob.created for c in subscription.changes
    )
    if begin >= until or not wanted or gone:
        return
    name = f"{blob.id[-12:]} created {blob.created:%d %H:%M} seen {seen:%d %H:%M}"
    demand(row is not None, f"{name} was never listed")
    assert row is not None
    demand(row.state is BlobState.DELIVERED, f"{name} ends as {row.state}: {row.last_error}")
    if model.contents.current(blob, blob.expires):
        key = key_of(stream, blob)
        for record in blob.record_ids or ():
            there_ = there.workspace.acknowledged[key, record] or record in there.workspace.poisoned
            demand(there_, f"{name}: record {record} never arrived")


def _check_settled(there: Played, store: SqliteLedger | TableLedger, stream: Stream) -> None:
    """Demand that hours which began in the calm are complete in the end, or lost for a reason.

    Where the feed's ``Date`` was ahead for a while, it may have said for these hours, as it seemed,
    that there is no subscription. Where there is none at the end, what its last listings took back
    stays so.
    """
    now = there.world.service()
    gone = there.truth.is_gone(stream)
    hours = _stated(store, stream, Window(now - RETENTION + 2 * HOUR, now))
    kept = hour_of(now - RETENTION) + 2 * HOUR
    begun = max(hour_of(there.calm + there.world.service_offset) + 2 * HOUR, kept)
    settled = now - HOUR - MARGIN - there.plan.scale.pause * 2
    demand(
        begun >= settled or any(hour.hour == begun for hour in hours),
        f"{stream.content_type} {begun:%d %H}h: nothing is said of it",
    )
    for hour in () if there.feed.log.lied else hours:
        known = there.truth.is_known(stream, hour.hour, -TOLERANCE)
        if not begun <= hour.hour < settled or not known:
            continue
        if hour.state is HourState.PENDING and gone:
            continue
        demand(
            hour.state in {HourState.COMPLETE, HourState.LOST},
            f"{stream.content_type} {hour.hour:%d %H}h stays {hour.state}: {hour.why}",
        )
        lost = hour.expired + hour.rejected
        demand(
            hour.state is HourState.COMPLETE or lost,
            f"{stream.content_type} {hour.hour:%d %H}h is lost: {hour.why}",
        )


def _check_sent(there: Played, stream: Stream) -> None:
    """Demand that ``Sent`` of a complete hour is what the table took of it, repeats dropped."""
    space = there.workspace
    keys = {
        key_of(stream, blob): hour_of(blob.created)
        for blob in there.truth.blobs
        if (blob.tenant, blob.content_type) == (stream.tenant, stream.content_type)
    }
    stored = Counter(keys[key] for key, _ in space.acknowledged if key in keys)
    last = {
        str(row["Hour"]): row
        for row in space.health
        if row.get("Hour")
        and (row["OrganizationId"], row["ContentType"]) == (stream.tenant, stream.content_type)
    }
    for text, row in last.items():
        hour = datetime.fromisoformat(text)
        if row["Complete"]:
            what = f"{stream.content_type} {hour:%d %H}h: Sent is {row['Sent']}"
            demand(row["Sent"] == stored[hour], f"{what}, the table took {stored[hour]}")
            there.world.counts["Sent checked"] += 1


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder in memory where there is one."""
    where = FAST if FAST.is_dir() and os.access(FAST, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="mailvigil-simulation-", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play_fresh(seed: int, program: str) -> Played:
    """Play a seed in a folder of its own; the garbage of one history is small enough to wait."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with scratch() as folder:
            return play(seed, program, folder)
    finally:
        if was_enabled:
            gc.enable()


def main(argv: Sequence[str]) -> int:
    """Play the seeds that are named and print their steps."""
    logging.disable(logging.CRITICAL)
    programs = [name for name in argv if name in PROGRAMS] or list(PROGRAMS)
    for seed in (int(text) for text in argv if text.isdecimal()):
        for program in programs:
            there = play_fresh(seed, program)
            for at, what in there.world.steps:
                print(f"{at:%d %H:%M:%S} {what}")  # noqa: T201 - the answer
            counts = dict(sorted(there.world.counts.items()))
            print(f"{program} {seed}: {len(there.world.steps)} steps", counts)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
