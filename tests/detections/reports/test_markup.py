"""HTML that the reports make cannot be broken out of."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from mailvigil.printable import visible
from mailvigil.reports.markup import element, in_script, joined

ANY = st.text(alphabet=st.characters(codec=None))


class Read(HTMLParser):
    """What a parser of HTML takes a page for."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> Read:
    parser = Read()
    parser.feed(html)
    parser.close()
    return parser


@given(ANY, ANY)
def test_no_text_or_attribute_makes_a_tag(words: str, title: str) -> None:
    parsed = read(element("p", words, title=title))

    assert parsed.tags == [("p", {"title": visible(title)})]
    assert "".join(parsed.texts) == visible(words)


@given(st.recursive(ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner)))
def test_json_never_ends_its_script_and_keeps_its_meaning(value: object) -> None:
    script = in_script(value)

    assert json.loads(script) == value
    assert script.isascii()
    assert not set("<>&\u2028\u2029") & set(script)


def test_text_is_escaped_once_and_markup_not_again() -> None:
    made = element("b", "<i>")

    assert made == "<b>&lt;i&gt;</b>"
    assert joined([made, "<i>"]) == "<b>&lt;i&gt;</b>&lt;i&gt;"
    assert element("td", "x", class_="a", aria_label="b", open=None, hidden="") == (
        '<td class="a" aria-label="b" hidden="">x</td>'
    )
