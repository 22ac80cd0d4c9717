"""The HTML report in a real browser: it shows, filters, can be read by all, and runs nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from detections.commands.command import SOME_RULES, quiet_days, read_at, run
from detections.exports.written import Record, purview
from detections.reports.made import HOSTILE
from mailvigil.exit_codes import EXIT_OK

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
PAGE_OF_FINDINGS = 25


@dataclass(slots=True)
class Opened:
    """A page and what it did: console messages, errors, and addresses that it asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def opened(
    browser: Browser,
    report: Path,
    size: ViewportSize = WIDE,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Opened]:
    """Open *report*; afterwards it must have said nothing and asked for nothing but itself."""
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    there = Opened(page)
    page.on("console", lambda message: there.said.append(message.text))
    page.on("pageerror", lambda error: there.said.append(str(error)))
    page.on("request", lambda request: there.asked.append(request.url))
    page.goto(report.as_uri())
    charts = page.locator(".chart")
    expect(page.locator(".chart[data-drawn]")).to_have_count(charts.count())
    yield there
    assert there.said == []
    assert there.asked == [report.as_uri()]
    context.close()


@pytest.mark.parametrize("which", ["demo_report", "real_report", "hostile_report", "long_report"])
def test_a_report_shows_its_sentence_charts_and_findings(
    which: str, browser: Browser, request: pytest.FixtureRequest
) -> None:
    report: Path = request.getfixturevalue(which)

    with opened(browser, report) as there:
        page = there.page
        expect(page.locator("h1")).to_contain_text("finding")
        expect(page.locator(".chart svg")).to_have_count(3)
        assert page.locator("#chart-matrix svg path").count() > 0
        assert 1 <= page.locator(".finding").count() <= PAGE_OF_FINDINGS


@pytest.mark.parametrize("which", ["demo_report", "real_report"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_no_page_is_wider_than_the_window(
    which: str,
    scheme: Literal["light", "dark"],
    size: ViewportSize,
    browser: Browser,
    shots: Path,
    request: pytest.FixtureRequest,
) -> None:
    report: Path = request.getfixturevalue(which)

    with opened(browser, report, size, scheme) as there:
        page = there.page
        page.locator(".finding > summary").first.click()
        expect(page.locator(".finding .body")).to_have_count(1)
        page.screenshot(path=shots / f"{which}-{size['width']}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]


@pytest.mark.parametrize("which", ["demo_report", "real_report", "hostile_report", "long_report"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(
    which: str,
    scheme: Literal["light", "dark"],
    browser: Browser,
    checkout: Path,
    request: pytest.FixtureRequest,
) -> None:
    axe = checkout / "node_modules" / "axe-core" / "axe.min.js"
    report: Path = request.getfixturevalue(which)

    with opened(browser, report, scheme=scheme) as there:
        page = there.page
        page.locator(".finding > summary").first.click()
        expect(page.locator(".finding .body")).to_have_count(1)
        page.evaluate(axe.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        bad = [
            (fault["id"], fault["impact"], [node["html"][:200] for node in fault["nodes"]][:3])
            for fault in found["violations"]
            if fault["impact"] in {"serious", "critical", "moderate"}
        ]
        assert bad == []
        assert len(found["passes"]) > 0


@pytest.mark.parametrize(
    ("records", "sentence", "charts"),
    [
        (quiet_days(), r"Nothing was found by \d+ rules in 12 records of mail read between", 2),
        ([read_at(0, 0, Operation="Send")], r"Nothing was judged: the data holds no record", 0),
    ],
    ids=["quiet", "no reading"],
)
def test_a_hunt_that_finds_nothing_gives_a_whole_page(
    records: list[Record], sentence: str, charts: int, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "export.csv").write_bytes(purview(records))
    export, page = tmp_path / "export.csv", tmp_path / "r.html"
    assert run("hunt", export, "--report", page, *SOME_RULES).code == EXIT_OK

    with opened(browser, page) as there:
        shown = there.page
        expect(shown.locator("h1")).to_contain_text(re.compile(sentence))
        expect(shown.locator(".chart svg")).to_have_count(charts)
        expect(shown.locator("#findings")).to_contain_text(re.compile(sentence))
        assert shown.locator(".finding").count() == 0


def test_text_of_a_log_is_shown_and_never_runs(browser: Browser, hostile_report: Path) -> None:
    with opened(browser, hostile_report) as there:
        page = there.page
        for summary in page.locator(".finding > summary").all():
            summary.click()
        for chart_table in page.locator("figure summary").all():
            chart_table.click()
        page.locator("#chart-matrix .mark-symbol path").first.hover()
        expect(page.locator("#vg-tooltip-element")).to_contain_text("onerror")

        assert page.evaluate("window.ran") is None
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 5
        shown = HOSTILE.replace("\u2028", "\\u2028").replace("\u202e", "\\u202e")
        expect(page.locator(".finding .body").first).to_contain_text(shown.lower())
        expect(page.locator("#made")).to_contain_text("onerror=\"window.ran='file name'\"")


def test_no_script_but_ours_may_run(browser: Browser, demo_report: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(demo_report.as_uri())
    tries = {
        "inline": "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s)",
        "handler": "document.body.setAttribute('onclick', 'window.ran = 2');document.body.click()",
        "eval": "const s = document.createElement('iframe'); s.srcdoc = '<script>top.ran=3'"
        "+ '<' + '/script>'; document.body.append(s)",
        "style": "document.body.setAttribute('style', 'background: url(http://192.0.2.1/x)')",
        "fetch": "fetch('http://192.0.2.1/x').catch(() => 0)",
        "image": "const i = new Image(); i.src = 'http://192.0.2.1/x.png'; document.body.append(i)",
    }

    for code in tries.values():
        page.evaluate(f"() => {{ {code} }}")
    page.wait_for_timeout(200)

    assert page.evaluate("window.ran") is None
    assert sum("Content Security Policy" in text for text in refused) >= len(tries) - 1
    context.close()


def test_the_filter_finds_what_was_asked_for(browser: Browser, long_report: Path) -> None:
    with opened(browser, long_report) as there:
        page = there.page
        count = page.locator("#count")
        expect(count).to_have_text("1 to 25 of 10,000")

        page.get_by_label("Find in findings").fill("SESSION-4711")
        expect(count).to_have_text("1 to 1 of 1 (10,000 in all)")
        expect(page.locator(".finding .body")).to_contain_text("Caller number 4711 read mail.")

        page.get_by_label("Find in findings").fill("no such text")
        expect(count).to_have_text("None of 10,000 findings matches.")

        page.get_by_label("Find in findings").fill("")
        page.locator("#severity").select_option("High")
        expect(count).to_have_text("1 to 25 of 5,000 (10,000 in all)")
        page.locator("#rule").select_option("mailbox_throttled")
        expect(count).to_have_text("None of 10,000 findings matches.")


def test_findings_are_drawn_page_by_page(browser: Browser, long_report: Path) -> None:
    with opened(browser, long_report) as there:
        page = there.page
        expect(page.locator(".finding")).to_have_count(PAGE_OF_FINDINGS)
        assert page.evaluate("document.querySelectorAll('*').length") < 4_000
        expect(page.get_by_role("button", name="Previous")).to_be_disabled()

        page.get_by_role("button", name="Next").click()
        expect(page.locator("#count")).to_have_text("26 to 50 of 10,000")
        expect(page.locator("#page")).to_have_text("Page 2 of 400")
        expect(page.locator(".finding")).to_have_count(PAGE_OF_FINDINGS)


def test_what_was_chosen_is_copied(browser: Browser, long_report: Path) -> None:
    with opened(browser, long_report) as there:
        page = there.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        data = json.loads(page.locator("#data").text_content() or "")
        page.get_by_label("Find in findings").fill("number 77")
        chosen = [f["id"] for f in data["findings"] if "number 77" in f["why"]]

        page.get_by_role("button", name="Copy finding ids").click()
        expect(page.locator("#copy")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()").split("\n") == chosen
        assert len(chosen) == 111

        page.get_by_label("Find in findings").fill("session-4711")
        page.get_by_role("button", name="Copy record ids").click()
        expect(page.locator("#list").get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()").split("\n")
        assert copied == [f"session-4711-record-{number}" for number in range(3)]


def test_the_keyboard_reaches_a_finding(browser: Browser, demo_report: Path) -> None:
    with opened(browser, demo_report) as there:
        page = there.page
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the findings")).to_be_focused()
        page.keyboard.press("Enter")
        page.locator("#copy").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")

        expect(page.locator(".finding .body")).to_have_count(1)


def test_paper_shows_every_finding(browser: Browser, demo_report: Path, shots: Path) -> None:
    with opened(browser, demo_report) as there:
        page = there.page
        count = page.locator(".finding").count()
        assert count > 1

        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        expect(page.locator(".finding .body")).to_have_count(count)
        assert page.locator("details:not([open])").count() == 0
        assert not page.locator("#filter").is_visible()
        page.screenshot(path=shots / "demo_report-print.png", full_page=True)
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        expect(page.locator(".finding .body")).to_have_count(0)


def test_without_scripts_the_findings_are_a_table(browser: Browser, demo_report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(demo_report.as_uri())

    expect(page.locator("h1")).to_contain_text("findings")
    expect(page.locator("noscript table")).to_contain_text("9199bf20-a13f-4107-85dc-02114787ef48")
    context.close()
