"""The demonstration: a made-up tenant, an intrusion like Storm-0558's, and who finds it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.text import Text

from mailvigil.demo.collect_from_lab import Collected, collect_from_a_lab
from mailvigil.demo.common_rules import Reported, keyed_on_client_app, with_allow_list
from mailvigil.errors import InputError
from mailvigil.hunt.findings import Finding, display_name
from mailvigil.hunt.request import HuntRequest
from mailvigil.hunt.result import HuntResult
from mailvigil.hunt.run import HuntProgress, hunt
from mailvigil.lab.tenant.portal_files import write_approved_csv
from mailvigil.lab.tenant.profile import DEMO, Profile
from mailvigil.lab.tenant.records import intrusion_facts, records
from mailvigil.lab.tenant.uses import approvals
from mailvigil.printable import counted
from mailvigil.reports import writing
from mailvigil.reports.report_context import context
from mailvigil.reports.terminal import print_table
from mailvigil.rules.app_names import first_party_ids, name_of


def run_demo(
    out: Console,
    progress: HuntProgress,
    stdin: BinaryIO,
    profile: Profile = DEMO,
    report: Path | None = None,
) -> bool:
    """Collect the tenant's log, hunt in it, print what was found; return whether the intruder was.

    Args:
        out: Where the results go.
        progress: Told how far it is.
        stdin: Not read; the hunt wants one.
        profile: The tenant, whose last day is over.
        report: File for the HTML report, or None for no report.

    """
    with tempfile.TemporaryDirectory(prefix="mailvigil-demo") as name:
        folder = Path(name)
        progress.phase("collecting from the lab", 0)
        collected = collect_from_a_lab(profile, folder)
        out.print(Text(_tenant(profile, collected)), soft_wrap=True)
        out.print(Text(collected.statement), soft_wrap=True)
        sampled = writing.SAMPLE if report else 0
        request = HuntRequest(
            paths=(), workspace=collected.workspace, approved=_approved(profile, folder),
            evidence=sampled,
        )  # fmt: skip
        hunted = hunt(request, stdin=stdin, name_of=name_of, progress=progress)
    print_table(hunted, out)
    progress.phase("comparing with other rules", 0)
    intruder_found = _verdict(out, profile, hunted)
    if report:
        out.print()
        out.print(Text(_reported(hunted, request, report)), soft_wrap=True)
    return intruder_found and collected.complete


def _reported(hunted: HuntResult, request: HuntRequest, report: Path) -> str:
    """Write the report and say where it is, or why it is not there."""
    how = context(("demo",), request.plan, None)
    try:
        writing.write(_without_folder(hunted), how, [report], None)
    except InputError as error:
        return f"The report was not written: {error}."
    return f"Report: {report} (open it in a browser)"


def _without_folder(hunted: HuntResult) -> HuntResult:
    """Name the files without their folder, which is gone and has another name in each run."""
    files = tuple(replace(file, name=Path(file.name).name) for file in hunted.load.files)
    sources = tuple(replace(source, name=Path(source.name).name) for source in hunted.load.sources)
    return replace(hunted, load=replace(hunted.load, files=files, sources=sources))


def _approved(profile: Profile, folder: Path) -> Path:
    path = folder / "approved.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        write_approved_csv(profile, file)
    return path


def _tenant(profile: Profile, collected: Collected) -> str:
    return (
        f"A made-up tenant: {profile.mailboxes} mailboxes, {profile.days} days, with an "
        f"intrusion in it; its feed lists {counted(collected.blobs, 'content blob')}.\n"
        "Collected through Microsoft's own clients over TLS; the ledger states:"
    )


def _verdict(out: Console, profile: Profile, hunted: HuntResult) -> bool:
    facts = intrusion_facts(profile)
    if facts is None:
        return not hunted.findings
    caught = [f for f in hunted.findings if facts.caller in f.callers]
    read = sorted({mailbox for f in caught for mailbox in f.mailboxes})
    approved = [app.caller for app in approvals(profile)]
    client_app = keyed_on_client_app(records(profile), approved=approved)
    allow_list = with_allow_list(records(profile), first_party_ids(), approved=approved)
    out.print()
    for line in (
        (
            f"The intruder came as {display_name(facts.caller, name_of(facts.caller) or '')} by "
            f"{facts.protocol}, with a forged token and without any sign-in."
        ),
        (
            f"mailvigil found it by {_rules(caught)}, in {len(read)} of {len(facts.mailboxes)} "
            f"mailboxes: {', '.join(read)}."
        ),
        f"A rule keyed on ClientAppId alone finds {_others(client_app, facts.caller)}.",
        f"A rule with a first-party allow list finds {_others(allow_list, facts.caller)}.",
    ):
        out.print(Text(line), soft_wrap=True)
    return set(facts.mailboxes) <= set(read)


def _rules(findings: Iterable[Finding]) -> str:
    return ", ".join(sorted({f.rule.name for f in findings})) or "no rule"


def _others(reported: Iterable[Reported], intruder: str) -> str:
    callers = [r.caller for r in reported]
    if intruder in callers:
        return "it too"
    return f"nothing of it ({counted(len(callers), 'other caller')})" if callers else "nothing"
