"""Measure speed and memory, print one table and write it to ``bench/results.md``.

    python bench/run.py [--part {all,hunt,worker,report,simulation}] [--quick] [--keep] [--runs N]

Every measured command is a process of its own. Machines differ, so what counts are ratios of
two things measured in turns in the same run: the hunt and the same job in pandas, a rule and
the same SQL written by hand, the collector's worker and a plain loop. What misses its target
is reported as missed. A part that is not measured stays as it is in the results; the simulation
is not part of `all`, as it measures no speed and takes minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from mailvigil.lab.tenant import bulk

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / "build" / "bench"
RESULTS = HERE / "results.md"

RECORDS, QUICK_RECORDS = 1_000_000, 50_000
TIMES_LARGER = 10
"""How many times the rows of the export the large workspace has."""

MOST_SECONDS, MOST_GIB = 30.0, 2.0
LEAST_TIMES_AS_FAST = 10.0
MOST_RULE_SECONDS, MOST_TIMES_SQL = 1.0, 1.5
RULE_RUNS = 5
MOST_SIMULATED_SECONDS = 900

WORKER_HEADING = "# The collector's worker"
REPORT_HEADING = "# The report"
SIMULATION_HEADING = "# The Function app, simulated"
RULES_HEADING = "# Rules where no function's rows are kept"
"""``bench/rule_cost.py`` measures this part; it stays as it is here."""

PANDAS_RULES = (
    "caller_new_to_mailbox", "caller_new_to_tenant", "foreign_token_tenant", "mailbox_throttled"
)  # fmt: skip
"""The rules that ``bench/pandas_hunt.py`` replays too."""

COMPARED = ("first", "last", "records", "operation_count")
"""What two findings of one rule and key must also have in common."""

Json = Any  # output of another program, checked by its use


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one process: seconds of wall clock and of processor, peak memory in bytes."""

    wall: float
    user: float
    system: float
    peak: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. ``met`` is None where there is no target."""

    what: str
    target: str
    measured: str
    met: bool | None = None


class VoidError(Exception):
    """Two things that must do the same job do not: a comparison would say nothing."""


def main(argv: Sequence[str]) -> int:
    """Measure what is asked for, write the results; return 0, or 1 when a comparison is void."""
    options = _options(argv)
    CACHE.mkdir(parents=True, exist_ok=True)
    sections = parts(RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "")
    try:
        for name, measure in PARTS.items():
            if name in chosen(options.part):
                sections[name] = measure(options)
                sys.stdout.write(sections[name])
    except VoidError as error:
        say(f"void: {error}")
        return 1
    if options.quick:
        say(f"a trial: {RESULTS.name} is left as it is")
    else:
        RESULTS.write_text("\n".join(part for part in sections.values() if part), encoding="utf-8")
    return 0


def chosen(part: str) -> Sequence[str]:
    """Return the parts to measure."""
    return ("hunt", "worker", "report") if part == "all" else (part,)


def parts(text: str) -> dict[str, str]:
    """Return what the results say of each part, in order, ``""`` where nothing."""
    sections, rest = {}, text
    for name, heading in reversed(HEADINGS.items()):
        rest, separator, part = rest.partition(heading)
        sections[name] = separator + part
    sections["hunt"] = rest
    return {
        name: sections[name].rstrip() + "\n" if sections[name].strip() else ""
        for name in ("hunt", *HEADINGS)
    }


def hunt_part(options: argparse.Namespace) -> str:
    """Measure the hunt and the rules."""
    records = QUICK_RECORDS if options.quick else RECORDS
    export = made_export(records)
    lines = [*hunt_lines(export, options.runs), *rule_lines(export, keep=options.keep)]
    return page(table(lines), records)


def worker_part(options: argparse.Namespace) -> str:
    """Measure the collector's worker."""
    return worker_page(table(list(collect_lines(quick=options.quick))))


def report_part(options: argparse.Namespace) -> str:
    """Measure how fast a long report is written and shown."""
    rounds = ["--rounds", "1"] if options.quick else []
    say("the report")
    _, measured_lines = run([*_PYTHON, str(HERE / "report.py"), "--json", *rounds])
    text = table([Line(**line) for line in measured_lines])
    return f"""{REPORT_HEADING}

Written by `make bench`: a page of 10,000 made-up findings, written, and shown by Chromium from
a file until its table and charts stand.

{text}"""


def simulation_part(options: argparse.Namespace) -> str:
    """Simulate the Function app with many tenants and a huge one."""
    share = ["--share", "0.02"] if options.quick else []
    say("the simulation of the Function app")
    cost, simulated = run([*_PYTHON, str(HERE / "simulate.py"), "--json", *share])
    cost_lines = [
        Line("the simulation itself: time", f"at most {MOST_SIMULATED_SECONDS} s",
             f"{cost.wall:.0f} s", cost.wall <= MOST_SIMULATED_SECONDS),
        Line("the simulation itself: processor time", "", f"{cost.user + cost.system:.0f} s"),
    ]  # fmt: skip
    return simulation_page(table([*(Line(**line) for line in simulated), *cost_lines], "measured"))


PARTS: Mapping[str, Callable[[argparse.Namespace], str]] = {
    "hunt": hunt_part,
    "worker": worker_part,
    "report": report_part,
    "simulation": simulation_part,
}
HEADINGS = {
    "worker": WORKER_HEADING,
    "report": REPORT_HEADING,
    "simulation": SIMULATION_HEADING,
    "rules": RULES_HEADING,
}


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure speed and memory.")
    quick = f"try it with {QUICK_RECORDS:,} records; no results are written"
    parser.add_argument("--part", choices=("all", *PARTS), default="all")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--keep", action="store_true", help="keep the large workspace")
    parser.add_argument("--runs", type=int, default=3, help="runs of a whole program (default: 3)")
    return parser.parse_args(argv)


def made_export(records: int) -> Path:
    """Return a Purview export of *records* records, made anew when their generator changed."""
    sources = sorted(Path(bulk.__file__).parent.glob("*.py"))
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    path = CACHE / f"records-{records}-{key}.csv"
    if not path.exists():
        say(f"making {records:,} records")
        for old in CACHE.glob(f"records-{records}-*.csv"):
            old.unlink()
        part = path.with_suffix(".part")
        with part.open("w", encoding="utf-8", newline="") as out:
            bulk.write_bulk_csv(records, out)
        part.rename(path)
    return path


def in_memory(path: Path) -> None:
    """Read *path* once, so that a run measures the program and not the disk."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def hunt_lines(export: Path, runs: int) -> Iterator[Line]:
    """Measure the hunt and the pandas version in turns, and compare what they found."""
    whole, ours, theirs = [], [], []
    hunting = [*_MAILVIGIL, "hunt", str(export), "--format", "json"]
    for number in range(1, runs + 1):
        say(f"run {number} of {runs}: hunt, all rules")
        whole.append(measured(hunting, export)[0])
        say(f"  {whole[-1].wall:.1f} s; with the rules of the pandas version")
        cost, output = measured([*hunting, "--rules", ",".join(PANDAS_RULES)], export)
        ours.append(cost)
        say(f"  {cost.wall:.1f} s; pandas")
        cost, expected = measured([*_PYTHON, str(HERE / "pandas_hunt.py"), str(export)], export)
        theirs.append(cost)
        say(f"  {cost.wall:.1f} s")
        same_findings(output, expected)
    size = f"{export.stat().st_size / 1e9:.2f} GB of CSV"
    yield wall_line(f"hunt, all rules, {size}: time", whole, MOST_SECONDS)
    yield peak_line("hunt: peak memory", whole, MOST_GIB)
    yield cpu_line("hunt: processor time", whole)
    yield from pandas_lines(ours, theirs)


def pandas_lines(ours: Sequence[Cost], theirs: Sequence[Cost]) -> Iterator[Line]:
    """Return the lines of the hunt with a few rules beside pandas doing the same."""
    job = f"the same with {len(PANDAS_RULES)} rules"
    yield wall_line(f"{job}: time", ours)
    yield cpu_line(f"{job}: processor time", ours)
    yield wall_line(f"{job} in pandas: time", theirs)
    yield peak_line("pandas: peak memory", theirs)
    yield cpu_line("pandas: processor time", theirs)
    ratios = [their.wall / our.wall for our, their in zip(ours, theirs, strict=True)]
    yield Line(
        f"pandas time / hunt time, {len(PANDAS_RULES)} rules",
        f"at least {LEAST_TIMES_AS_FAST:.0f}",
        spread(ratios, "", 1),
        median(ratios) >= LEAST_TIMES_AS_FAST,
    )


def measured(command: Sequence[str], export: Path) -> tuple[Cost, Json]:
    """Run *command* with *export* in memory; return its cost and output."""
    in_memory(export)
    return run(command)


def wall_line(what: str, costs: Sequence[Cost], most: float | None = None) -> Line:
    """Return the line of wall clock seconds."""
    values = [cost.wall for cost in costs]
    target = f"at most {most:.0f} s" if most else ""
    return Line(what, target, spread(values, " s", 1), median(values) <= most if most else None)


def peak_line(what: str, costs: Sequence[Cost], most: float | None = None) -> Line:
    """Return the line of peak memory; here the worst run counts."""
    values = [cost.peak / 2**30 for cost in costs]
    target = f"at most {most:.0f} GiB" if most else ""
    return Line(what, target, spread(values, " GiB", 2), max(values) <= most if most else None)


def cpu_line(what: str, costs: Sequence[Cost]) -> Line:
    """Return the line of processor seconds, all cores together."""
    return Line(what, "", spread([cost.user + cost.system for cost in costs], " s", 1))


def same_findings(output: Json, expected: Json) -> None:
    """Make sure that both found the same.

    Raises:
        VoidError: They did not, or found nothing.

    """
    ours, theirs = _findings(output), _findings(expected)
    if not ours:
        raise VoidError("nothing was found, so nothing is shown")
    if ours != theirs:
        other = sorted(set(ours.items()) ^ set(theirs.items()))
        raise VoidError(f"hunt and pandas differ, for example in {other[0]}")


def _findings(output: Json) -> Mapping[str, tuple[object, ...]]:
    return {
        json.dumps([finding["rule"], finding["key"]], sort_keys=True): tuple(
            finding[name] for name in COMPARED
        )
        for finding in output["findings"]
    }


def rule_lines(export: Path, *, keep: bool) -> Iterator[Line]:
    """Build the large workspace and measure each rule in it beside its SQL."""
    loaded, large = CACHE / "loaded.duckdb", CACHE / "large.duckdb"
    remove(loaded, large)
    try:
        say("loading a workspace")
        run([*_MAILVIGIL, "hunt", str(export), "--save", str(loaded), "--format", "json"])
        say(f"making it {TIMES_LARGER} times as large")
        script = str(HERE / "ten_million.py")
        run([*_PYTHON, script, "build", str(loaded), str(large)], output=False)
        say("evaluating the rules")
        _, output = run([*_PYTHON, script, "measure", str(large), str(RULE_RUNS)])
        yield workspace_line(output, large.stat().st_size)
    finally:
        remove(loaded, *([] if keep else [large]))
    for rule in output["rules"]:
        yield from one_rule(rule)


def workspace_line(output: Json, size: int) -> Line:
    """Return the line about the large workspace itself."""
    return Line(
        f"workspace of {output['rows']:,} records ({size / 1e9:.1f} GB), "
        f"{output['judged']:,} of them judged: joining the sources, once",
        "",
        f"{output['joining']:.1f} s",
    )


def one_rule(rule: Json) -> Iterator[Line]:
    """Return the lines of one rule.

    Raises:
        VoidError: The rule and its SQL give other rows, or none.

    """
    name = rule["rule"]
    if not rule["rows"] or not rule["equal"]:
        raise VoidError(f"{name} gives other rows than its SQL, or none")
    ours, theirs = rule["rule_seconds"], rule["sql_seconds"]
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    yield Line(
        f"{name}, one run, {rule['rows']:,} rows out",
        f"at most {MOST_RULE_SECONDS:.0f} s",
        spread(ours, " s", 2),
        median(ours) <= MOST_RULE_SECONDS,
    )
    yield Line(f"{name}: SQL by hand", "", spread(theirs, " s", 2))
    yield Line(
        f"{name}: rule time / SQL time",
        f"at most {MOST_TIMES_SQL}",
        spread(ratios, "", 2),
        median(ratios) <= MOST_TIMES_SQL,
    )
    yield Line(f"{name}: translation, once a hunt", "", f"{rule['translation']:.2f} s")


def collect_lines(*, quick: bool) -> Iterator[Line]:
    """Measure the collector: the whole worker, a very large blob, and how fast it follows."""
    worker = ["--rounds", "1", "--blobs", "300"] if quick else []
    large = ["--megabytes", "20"] if quick else []
    scripts = [("worker.py", worker), ("large_blob.py", large)]
    for script, options in scripts if quick else [*scripts, ("follow.py", [])]:
        say(f"the collector: {script}")
        _, measured_lines = run([*_PYTHON, str(HERE / script), "--json", *options])
        yield from (Line(**line) for line in measured_lines)


def run(command: Sequence[str], *, output: bool = True) -> tuple[Cost, Json]:
    """Run *command* to its end and return its cost and the JSON that it printed.

    Raises:
        VoidError: It failed.

    """
    with tempfile.TemporaryFile(dir=CACHE) as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out)  # noqa: S603 - commands are this file's
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise VoidError(f"{' '.join(command)} ended with {process.returncode}")
        out.seek(0)
        parsed = json.load(out) if output else None
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, used.ru_utime, used.ru_stime, used.ru_maxrss * unit), parsed


_PYTHON = (sys.executable, "-P")
_MAILVIGIL = (*_PYTHON, "-m", "mailvigil")


def remove(*databases: Path) -> None:
    """Delete database files and their logs."""
    for path in databases:
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


def spread(values: Sequence[float], unit: str, digits: int) -> str:
    """Return the median with the least and the most."""
    middle, least, most = (f"{v:.{digits}f}" for v in (median(values), min(values), max(values)))
    return f"{middle}{unit} ({least} to {most})"


def table(lines: Sequence[Line], measured: str = "measured: median (range)") -> str:
    """Return *lines* as a table in Markdown."""
    verdicts = {True: "met", False: "**missed**", None: ""}
    rows = [("", "target", measured, "")]
    rows += [(line.what, line.target, line.measured, verdicts[line.met]) for line in lines]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    rows.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * widths[3]))
    drawn = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "".join(f"| {row} |\n" for row in drawn)


def page(text: str, records: int) -> str:
    """Return the whole of the results file."""
    names = ("duckdb", "duckdb-kql", "pandas")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"""# Speed and memory

Written by `make bench`, from {records:,} records of a made-up tenant. Every hunt and every
pandas run is a process of its own, timed from its start to its end, and they take turns. The
pandas version (`bench/pandas_hunt.py`) knows four of the rules and finds the same, or there is
no result. The rules run in a saved workspace as in a hunt, the SQL
(`bench/same_shape.sql`) gives the same rows from the same data, and the two take turns {RULE_RUNS}
times, warm.

{os.cpu_count()} processors, {memory_gib():.0f} GiB of memory, {platform.system()} on \
{platform.machine()}, Python {platform.python_version()}, {versions}.

{text}"""


def worker_page(text: str) -> str:
    """Return the collector's part of the results file."""
    names = ("requests", "azure-monitor-ingestion", "azure-identity", "orjson", "isal")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"""{WORKER_HEADING}

Written by `make bench`, against the lab, with TLS on both ways. The worker is a whole pass of
the collector over an SQLite ledger, from the listing to the last acknowledged body, pinned to
one processor; the lab has the other. Blobs are of 50 KB, records of 2.5 KB. The plain loop is
`requests`, `json` and `upload(list)`, blob after blob. The ceiling adds up the processor time
of the bare steps, each alone on the same data. The sides take turns. A tenant's quota is not
held here; it allows about 1.3 MB a second. Where other work runs on the machine, wall clock
says less than processor time.

{os.cpu_count()} processors, {platform.system()} on {platform.machine()}, \
Python {platform.python_version()}, {versions}.

{text}"""


def simulation_page(text: str) -> str:
    """Return the simulation's part of the results file."""
    prices = json.loads((HERE / "prices.json").read_text(encoding="utf-8"))
    each = "".join(
        f"* {assumption['what']}: {assumption['value']}\n"
        for assumption in prices["assumed"].values()
    )
    return f"""{SIMULATION_HEADING}

Written by `make simulate` (`bench/simulate.py`): the app's own steps, with queues, tables, feed
and workspace in memory, on a clock of its own. What counts are operations, fairness and growth;
not speed. The two are played side by side.

* 100 tenants: 5 content types and 50 blobs an hour each, for 24 hours.
* a huge tenant: a million blobs in its seven days (6 days of backlog, then 24 hours of 5,952 an
  hour), beside 19 with 50 an hour. The lag is that of those 19; the huge one may ask for 1,600
  blobs a minute, so its backlog takes 9 hours at least.

A blob's lag is from its publication to its delivery, and a tenant's is the worst of its blobs. An
operation is one request to queue or table; a query counts once for each 1,000 rows, and taking
16 messages from a queue once. What the Functions host asks of idle queues and for its own
timers is not counted. A discover and a sweep are counted without the orders that they send.

A month costs what the played hours cost, made 30 days, at the prices of `bench/prices.json`
({prices["region"]}, read on {prices["read"]}). Operations, executions and bytes are counted.
The time that functions run is computed: requests times the seconds assumed for each, divided by
how many an instance has at once. Assumed is:

{each}
{os.cpu_count()} processors, {platform.system()} on {platform.machine()}, \
Python {platform.python_version()}.

{text}"""


def memory_gib() -> float:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def say(text: str) -> None:
    """Tell what is going on."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
