"""What is always true of pages and chunks, whatever the text."""

from __future__ import annotations

from pathlib import Path

import ingest_files as make
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import ParsedDocument, Section, chunk, parse
from ingest.headings import find_headings
from ingest.pages import synthetic_pages
from ingest.templates import TEMPLATES
from ingest.tokens import count_tokens

SENTENCES = st.sampled_from(
    [
        "The tenant shall pay the rent. ",
        "14. Term and termination. ",
        "ARTICLE IV PAYMENT ",
        "This is (a) one thing; (b) another thing; and (c) a third. ",
        "See No. 5, Mr. Smith of Acme Inc. in the U.S. ",
        "\n\n",
        "\n",
        "Dose | 5 mg\n",
        "x" * 700,
        "word " * 300,
        "\nMEDICATION: aspirin 75 mg daily\n",
        "\nPlan\n",
        "\n1.2 The supplier delivers.\n(a) on time\n",
        "\nFrom: a@example.test\nSent: today\n\nHello.\n",
        "日本語の文。",
        "   ",
        "(((",
    ]
)
TEXTS = st.one_of(st.lists(SENTENCES, max_size=40).map("".join), st.text(max_size=2_000))


def document_of(text: str) -> ParsedDocument:
    return ParsedDocument(text, synthetic_pages(text), find_headings(text), "A title", ("X Ltd",), "text/plain", False)


@settings(max_examples=250, deadline=None)
@given(TEXTS, st.integers(20, 220), st.sampled_from(sorted(TEMPLATES)))
def test_chunks_cover_the_text_and_say_where_they_stand(text: str, target: int, template: str) -> None:
    document = document_of(text)
    chunks = chunk(document, template=template, target_tokens=target, overlap_tokens=target // 5)
    covered = [False] * len(text)
    for place, piece in enumerate(chunks):
        assert piece.ordinal == place
        assert 0 <= piece.start < piece.end <= len(text)
        assert piece.text == text[piece.start : piece.end]
        assert piece.indexed_text.endswith("\n" + piece.text)
        assert count_tokens(piece.text) <= target
        page = document.pages[piece.page - 1]
        assert page.start <= piece.start < page.end
        covered[piece.start : piece.end] = [True] * (piece.end - piece.start)
    assert all(done or character.isspace() for done, character in zip(covered, text, strict=True))
    assert [piece.start for piece in chunks] == sorted({piece.start for piece in chunks})
    assert chunks == chunk(document, template=template, target_tokens=target, overlap_tokens=target // 5)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_pages_cover_the_text(text: str) -> None:
    pages = synthetic_pages(text)
    assert pages[0].start == 0 and pages[-1].end == len(text)
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert all(before.end == after.start for before, after in zip(pages, pages[1:], strict=False))


def test_neighbours_share_whole_sentences() -> None:
    text = " ".join(f"Sentence number {n} says something of its own about the goods." for n in range(80))
    chunks = chunk(document_of(text))
    for before, after in zip(chunks, chunks[1:], strict=False):
        shared = text[after.start : before.end]
        assert shared.startswith("Sentence number") and shared.endswith("goods.")
        assert 10 <= count_tokens(shared) <= 40


def test_a_chunk_starts_at_a_clause_rather_than_before_it() -> None:
    body = "The supplier shall do what the schedule says and shall do it in good time. " * 8
    text = f"1. Delivery\n\n{body.strip()}\n\n2. Payment\n\n{body.strip()}"
    chunks = chunk(document_of(text))
    assert [piece.text.split("\n")[0] for piece in chunks] == ["1. Delivery", "2. Payment"]
    assert [piece.heading for piece in chunks] == ["1. Delivery", "2. Payment"]


def test_a_chunk_may_run_over_a_page_end_and_belongs_to_the_page_where_it_starts(tmp_path: Path) -> None:
    data = make.pdf(["The buyer shall pay within thirty", "days of receipt, and"], ["then the goods are theirs."])
    document = parse(make.write(tmp_path, "a.pdf", data), name="a.pdf")
    (piece,) = chunk(document)
    assert piece.page == 1
    assert piece.text == document.text


def test_the_header_fits_beside_the_text() -> None:
    text = "The tenant shall pay the rent on the first day of every month without deduction. " * 60
    document = ParsedDocument(
        text,
        synthetic_pages(text),
        (Section("A heading that goes on and on " * 3, 1, 0),),
        "Amended and Restated Agreement for the Provision of Very Many Different Services",
        ("First Extremely Long Company Name Limited", "Second Extremely Long Company Name Limited"),
        "text/plain",
        False,
    )
    for piece in chunk(document):
        assert count_tokens(piece.indexed_text) <= 245
        assert piece.indexed_text.startswith("Amended and Restated Agreement")


def test_an_overlap_as_long_as_the_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap_tokens"):
        chunk(document_of("Some words."), target_tokens=40, overlap_tokens=40)


def test_a_hundred_kilobytes_in_one_line_are_quick() -> None:
    import time

    text = "The parties agree that the price is fair, and each of them has taken advice. " * 1_300
    start = time.perf_counter()
    chunks = chunk(document_of(text))
    assert time.perf_counter() - start < 5
    assert len(chunks) > 100
