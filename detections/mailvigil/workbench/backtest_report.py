"""What a backtest found, as tables for a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from string import Template

from rich.console import Console
from rich.table import Table

from mailvigil.printable import counted
from mailvigil.rules.metadata import SEVERITIES
from mailvigil.workbench.backtest import (
    MOST_ALL,
    MOST_HIGH,
    Backtest,
    Candidate,
    Fired,
    Fought,
    Noise,
)


@dataclass(frozen=True, slots=True)
class ReportTable:
    """One table: its title, its heads and its rows, all text."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def print_tables(backtest: Backtest, console: Console) -> None:
    """Print *found* as tables, the verdict last."""
    for shown in _tables(backtest):
        table = Table(*shown.heads, title=shown.title, title_justify="left")
        for row in shown.rows:
            table.add_row(*row)
        console.print(table)
    for line in verdicts(backtest):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def as_markdown(backtest: Backtest) -> str:
    """Return *found* as a page that says what was measured and how; it names no time of day."""
    page = (files("mailvigil.workbench") / "proof_page.md").read_text(encoding="utf-8")
    return Template(page).substitute(
        how=_how(backtest),
        tables="\n\n".join(_as_markdown(shown) for shown in _tables(backtest)),
        verdicts="\n".join(f"- {line}" for line in verdicts(backtest)),
    )


def as_json(backtest: Backtest) -> str:
    """Return *found* as one JSON object; delays are seconds, None where nothing fired."""
    whole = {
        "attacks": [_fought(backtest, entry) for entry in backtest.fought],
        "noise": [_noise(entry) for entry in backtest.noise],
        "month": _month(backtest),
        "budget": {
            "high_a_day": round(backtest.a_day({"High"}), 3),
            "all_a_day": round(backtest.a_day(), 3),
            "most_high": MOST_HIGH,
            "most_all": MOST_ALL,
            "broken": backtest.broken,
        },
        "missed": {name: list(rules) for name, rules in backtest.missed.items()},
    }
    return json.dumps(whole, indent=2)


def verdicts(backtest: Backtest) -> list[str]:
    """Return what it comes to, a sentence each."""
    caught = [fight for fight in backtest.fought if _fired(backtest, fight, pack=True)]
    lines = [f"The pack catches {len(caught)} of {counted(len(backtest.fought), 'attack')}."]
    unseen = [fight.attack.name for fight in backtest.fought if fight not in caught]
    lines += [f"Missed: {', '.join(unseen)}."] if unseen else []
    lines += [
        f"MISSED, though the pack is meant to catch it: {name}, by {', '.join(rules)}."
        for name, rules in backtest.missed.items()
    ]
    if backtest.noise:
        high, whole = backtest.a_day({"High"}), backtest.a_day()
        state = "BUDGET BROKEN" if backtest.broken else "Within the budget"
        lines.append(
            f"{state}: {high:.2f} incidents a day at High (at most {MOST_HIGH:.0f}), "
            f"{whole:.2f} in all (at most {MOST_ALL:.0f})."
        )
    return lines


def _tables(backtest: Backtest) -> Iterator[ReportTable]:
    others = any(not entry.of_pack for entry in backtest.candidates)
    heads = ("attack", "verdict", "first alert after", "rules of the pack")
    yield ReportTable(
        "Attacks",
        (*heads, "public approaches") if others else heads,
        tuple(_attack_row(backtest, entry, others=others) for entry in backtest.fought),
    )
    if backtest.noise:
        of_noise = ("rule", "severity", "runs every", "incidents", "a day", "worst day")
        ordered = sorted(backtest.noise, key=lambda n: (not n.candidate.of_pack, n.candidate.name))
        rows = (*map(_noise_row, ordered), *_sums(backtest))
        yield ReportTable("An ordinary month", (*of_noise, "alerts each"), rows)


def _attack_row(backtest: Backtest, fight: Fought, *, others: bool) -> tuple[str, ...]:
    own = _fired(backtest, fight, pack=True)
    first = _delay(own[0].delay) if own else ""
    row = (f"{fight.attack.name}: {fight.attack.title}", "caught" if own else "missed", first)
    listed = (*row, _named(own))
    return (*listed, _named(_fired(backtest, fight, pack=False)) or "none") if others else listed


def _fired(backtest: Backtest, fight: Fought, *, pack: bool) -> list[Fired]:
    names = {c.name for c in backtest.candidates if c.of_pack is pack}
    return [fired for fired in fight.fired if fired.rule in names]


def _named(fired: Sequence[Fired]) -> str:
    return ", ".join(f"{alert.rule} ({_delay(alert.delay)})" for alert in fired)


def _delay(delay: timedelta) -> str:
    minutes = round(delay / timedelta(minutes=1))
    days, hours = minutes // 1440, minutes // 60 % 24
    return f"{days}d {hours}h" if days else f"{hours}h {minutes % 60:02}m"


def _noise_row(noise: Noise) -> tuple[str, ...]:
    name = noise.candidate.name if noise.candidate.of_pack else f"{noise.candidate.name} (public)"
    counts = (str(sum(noise.days)), f"{noise.a_day:.2f}", str(max(noise.days)))
    each = f"{noise.each:.0f}" if any(noise.days) else ""
    return (name, noise.candidate.severity, _every(noise.candidate), *counts, each)


def _sums(backtest: Backtest) -> Iterator[tuple[str, ...]]:
    """Yield what the pack makes at each severity, and in all."""
    own = [noise for noise in backtest.noise if noise.candidate.of_pack]
    for severity in (*reversed(SEVERITIES), "all"):
        some = [n for n in own if severity in {n.candidate.severity, "all"}]
        if not some:
            continue
        days = [sum(day) for day in zip(*(noise.days for noise in some), strict=True)]
        a_day = f"{sum(days) / len(days):.2f}"
        yield ("the whole pack", severity, "", str(sum(days)), a_day, str(max(days)), "")


def _every(candidate: Candidate) -> str:
    if candidate.near_real_time:
        return "minute (NRT)"
    hours = candidate.step / timedelta(hours=1)
    return f"{hours / 24:.0f}d" if hours % 24 == 0 else f"{hours:g}h"


def _as_markdown(shown: ReportTable) -> str:
    lines = (shown.heads, ["---"] * len(shown.heads), *shown.rows)
    listed = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([f"## {shown.title}", "", *listed])


def _how(backtest: Backtest) -> str:
    tenant, month, records = backtest.attack_month, backtest.month, backtest.records
    lines = [
        f"The attacks: {len(backtest.fought)} in a tenant of {tenant.mailboxes:,} mailboxes, which",
        f"begin on day {tenant.learning + 2} of {tenant.days}.",
    ]
    if month:
        lines += [
            f"The ordinary month: {month.mailboxes:,} mailboxes, {month.days} days,",
            f"{records:,} audit records, seed {month.seed}. The first {month.learning} days",
            f"only teach; incidents count on the {month.days - month.learning} days after them.",
        ]
    return "\n".join([*lines, ""])


def _fought(backtest: Backtest, fight: Fought) -> dict[str, object]:
    own = _fired(backtest, fight, pack=True)
    return {
        "attack": fight.attack.name,
        "title": fight.attack.title,
        "verdict": "caught" if own else "missed",
        "delay": own[0].delay.total_seconds() if own else None,
        "fired": [
            {"rule": f.rule, "at": f.at.isoformat(), "delay": f.delay.total_seconds()}
            for f in fight.fired
        ],
    }


def _noise(noise: Noise) -> dict[str, object]:
    return {
        "rule": noise.candidate.name,
        "of_pack": noise.candidate.of_pack,
        "severity": noise.candidate.severity,
        "a_day": round(noise.a_day, 3),
        "days": list(noise.days),
        "alerts_each": round(noise.each, 1),
    }


def _month(backtest: Backtest) -> dict[str, object] | None:
    month = backtest.month
    if month is None:
        return None
    return {
        "mailboxes": month.mailboxes,
        "days": month.days,
        "judged_days": month.days - month.learning,
        "seed": month.seed,
        "records": backtest.records,
    }
