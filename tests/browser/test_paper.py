"""A drawn page shows all of its text, and marks exactly the quoted passage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.documents.paper import blocks_of, has_mark

LINES = st.sampled_from(
    ["Team | City | Cups", "Team: Blues | City: St. Louis | Cups: 1", "Team: Flyers | Cups: 2", "1. | two | 3 | 4"]
    + ["14.2 Either party may end it.", "Term and termination", "", "(a) fees accrued", "of the fees;", "x"]
)
TEXTS = st.lists(LINES | st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=12).map("\n".join)


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(TEXTS, st.integers(0, 500), st.data())
def test_nothing_is_lost_and_the_marks_are_the_quote(text: str, offset: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    at = data.draw(st.integers(0, len(text)))
    blocks = blocks_of(
        text, offset=offset, sections=[("x", 1, offset + at)], mark_start=offset + start, mark_end=offset + end
    )
    runs = [run for block in blocks for run in (*block.label, *block.runs)]
    assert squeezed("".join(run.text for run in runs)) == squeezed(text)
    for block in blocks:
        cells = [cell for row in block.rows for cell in row]
        assert not cells or tuple(run for cell in cells for run in (*cell.name, *cell.value, *cell.bar)) == block.runs
        assert len({sum(cell.span for cell in row) for row in block.rows}) <= 1
    assert squeezed("".join(run.text for run in runs if run.marked)) == squeezed(text[start:end])


def test_a_contract_page_becomes_headings_clauses_and_paragraphs() -> None:
    text = "14. Term\n14.1 It starts on the\nfirst day.\n14.2 Either party may end it.\n\nSigned by both."
    blocks = blocks_of(
        text, offset=100, sections=[("14. Term", 1, 100)], mark_start=100 + text.index("14.2"), mark_end=500
    )
    assert [block.kind for block in blocks] == ["heading", "clause", "clause", "paragraph"]
    assert ["".join(run.text for run in block.label) for block in blocks] == ["", "14.1", "14.2", ""]
    assert blocks[1].runs[0].text == "It starts on the\nfirst day."
    assert [run.marked for block in blocks for run in block.runs] == [False, False, True, True]


def test_a_passage_on_another_page_is_not_marked() -> None:
    assert not has_mark(blocks_of("Some text.", offset=50, sections=[], mark_start=10, mark_end=40))


def test_a_table_becomes_columns_with_names_and_every_cell_under_its_own() -> None:
    text = (
        "Stanley Cups\nTeam | City | Cups\nTeam: Blues | City: St. Louis | Cups: 1\nTeam: Flyers | Cups: 2\n\nAfter it."
    )
    blocks = blocks_of(text, offset=0, sections=[], mark_start=text.index("Flyers"), mark_end=text.index(" | Cups: 2"))
    assert [block.kind for block in blocks] == ["paragraph", "table", "paragraph"]
    shown = [[("".join(run.text for run in cell.value), cell.is_header) for cell in row] for row in blocks[1].rows]
    assert shown == [
        [("Team", True), ("City", True), ("Cups", True)],
        [("Blues", False), ("St. Louis", False), ("1", False)],
        [("Flyers", False), ("", False), ("2", False)],
    ]
    assert [run.text for run in blocks[1].runs if run.marked] == ["Flyers"]


def test_rows_of_figures_have_no_header_and_a_line_with_a_bar_is_no_table() -> None:
    (table,) = blocks_of("2023 | 4\n2024 | 5 | 6", offset=0, sections=[])
    assert [[cell.span for cell in row] for row in table.rows] == [[1, 2], [1, 1, 1]]
    assert not any(cell.is_header for row in table.rows for cell in row)
    (line,) = blocks_of("Page 3 | Confidential", offset=0, sections=[])
    assert line.kind == "paragraph"


def test_headings_go_down_one_level_at_a_time() -> None:
    text = "Deep\n\nTop\n\nMiddle\n\nDeep again"
    sections = [("Deep", 3, 0), ("Top", 1, 6), ("Middle", 2, 11), ("Deep again", 3, 19)]
    blocks = blocks_of(text, offset=0, sections=sections)
    assert [(block.kind, block.depth) for block in blocks] == [("heading", depth) for depth in (0, 0, 1, 2)]
