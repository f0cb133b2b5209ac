"""The text view, as HTML: all of the text and nothing else, the quote marked, tables and lists as what they are."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace

from django.template.loader import render_to_string
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.documents.paper import blocks_of

LINES = st.sampled_from(
    ["Team | City | Cups", "Team: Blues | City: St. Louis | Cups: 1", "Team: Flyers | Cups: 2", "<b>&amp;</b>"]
    + ["14.2 Either party may end it.", "Term and termination", "", "- of the fees;", "x | y"]
)
TEXTS = st.lists(LINES | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), max_size=12).map(
    "\n".join
)


class _Text(HTMLParser):
    """The text of a page less its folio, and of the marks in it."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.marked, self.tags = "", "", list[str]()
        self._within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._within.append("folio" if ("class", "folio") in attrs else tag)

    def handle_endtag(self, tag: str) -> None:
        self._within.pop()

    def handle_data(self, data: str) -> None:
        if "folio" not in self._within:
            self.text += data
            self.marked += data if "mark" in self._within else ""


def _shown(text: str, sections: list[tuple[str, int, int]], start: int, end: int) -> _Text:
    blocks = blocks_of(text, offset=0, sections=sections, mark_start=start, mark_end=end)
    view = SimpleNamespace(document=SimpleNamespace(title="T"), page=1, num_pages=1, paginated=False)
    html = render_to_string("documents/_page.html", {"view": view, "blocks": blocks, "level": "h2"})
    parser = _Text()
    parser.feed(html)
    parser.close()
    return parser


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.data())
def test_the_page_says_what_the_version_says_and_marks_the_quote(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    shown = _shown(text, [("x", 2, data.draw(st.integers(0, len(text))))], start, end)
    if text.strip():
        assert "".join(shown.text.split()) == "".join(text.split())
    assert "".join(shown.marked.split()) == "".join(text[start:end].split())


def test_what_is_a_table_a_heading_or_a_list_is_one() -> None:
    text = "Cups\n\nTeam | Cups\nTeam: Blues | Cups: 1\n\n- one\n- two\n\nThe end."
    shown = _shown(text, [("Cups", 1, 0)], 0, 0)
    wanted = ["article", "h2", "table", "tr", "th", "td", "ul", "li", "p"]
    assert {tag: shown.tags.count(tag) for tag in wanted} == {
        "article": 1, "h2": 1, "table": 1, "tr": 2, "th": 2, "td": 2, "ul": 1, "li": 2, "p": 2,
    }  # fmt: skip
