"""Write reports into files, in the form that a file's name asks for. The edge of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mailvigil.errors import InputError
from mailvigil.extras import need
from mailvigil.hunt.evidence import HuntEvidence
from mailvigil.hunt.result import HuntResult
from mailvigil.reports.report_context import Context
from mailvigil.reports.terminal import as_json
from mailvigil.reports.timeline import as_timeline

SAMPLE = 50
"""Sampled records of a finding for a report, and for a timeline."""
TIMELINE_SAMPLE = 100_000

ReportForm = Callable[[HuntResult, HuntEvidence, Context], str]


def _html(result: HuntResult, evidence: HuntEvidence, context: Context) -> str:
    # The libraries of a form are loaded when it is asked for: they take longer than a small hunt.
    from mailvigil.reports.html import as_html  # noqa: PLC0415
    from mailvigil.reports.vega import scripts  # noqa: PLC0415

    return as_html(result, evidence, context, scripts())


def _markdown(result: HuntResult, evidence: HuntEvidence, context: Context) -> str:
    from mailvigil.reports.markdown import as_markdown  # noqa: PLC0415 - as above

    return as_markdown(result, evidence, context)


def _stix(result: HuntResult, _evidence: HuntEvidence, _context: Context) -> str:
    from mailvigil.reports.stix import as_stix  # noqa: PLC0415 - as above

    return as_stix(result)


def _json(result: HuntResult, _evidence: HuntEvidence, context: Context) -> str:
    return as_json(result, context.plan) + "\n"


FORMS: Mapping[str, ReportForm] = {
    ".html": _html,
    ".md": _markdown,
    ".stix.json": _stix,
    ".json": _json,
}
"""By the end of the file's name, the longer ends first."""


def check(reports: Sequence[Path], timeline: Path | None, read: Sequence[str]) -> None:
    """Refuse, before a long hunt, what could not be written after it.

    Raises:
        InputError: A name's end is not known, its form needs a package that is not installed,
            or the file cannot be written or is among those that are *read*.

    """
    for path in reports:
        if _form(path) is _stix:
            need("stix2")
    for path in (*reports, *([timeline] if timeline else [])):
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InputError(str(path), "cannot be written", "name a file in a folder that exists")
        if path.resolve() in {Path(name).resolve() for name in read}:
            raise InputError(str(path), "is read by this hunt", "name another file for the report")


def samples(reports: Sequence[Path], timeline: Path | None) -> int:
    """Return how many records of a finding the hunt must sample."""
    return TIMELINE_SAMPLE if timeline else SAMPLE if reports else 0


def write(
    result: HuntResult, context: Context, reports: Sequence[Path], timeline: Path | None
) -> None:
    """Write each report and the timeline.

    Raises:
        InputError: A file cannot be written.

    """
    if result.evidence is None:
        return
    for path in reports:
        _put(path, _form(path)(result, result.evidence, context))
    if timeline:
        _put(timeline, as_timeline(result, result.evidence))


def _form(path: Path) -> ReportForm:
    for end, form in FORMS.items():
        if path.name.lower().endswith(end):
            return form
    known = ", ".join(FORMS)
    raise InputError(str(path), "no form of report has this ending", f"name it with {known}")


def _put(path: Path, content: str) -> None:
    # Bytes: a line end made longer on Windows would change what the hashes in a page allow.
    try:
        path.write_bytes(content.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise InputError(
            str(path), f"cannot be written: {error.strerror}", "name another file"
        ) from error
