"""Where each chunk template lets a passage end, on texts that a reader would cut by hand."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from pathlib import Path

import pytest

from ingest import ParsedDocument, Section, chunk, parse
from ingest.headings import find_headings
from ingest.pages import pages_from_starts, synthetic_pages
from ingest.templates import TEMPLATES

CLAUSE = "The supplier shall do what the schedule says and shall do it in good time. "
NOTE = """Seen in clinic today.

HISTORY
Chest pain for two days, worse on walking.

MEDICATION: aspirin 75 mg daily, ramipril 5 mg daily.
ALLERGIES: penicillin, with a rash in 2019.

PLAN
Stop aspirin. Repeat the troponin tomorrow.
"""
THREAD = """From: Anna <anna@example.test>
To: Ben <ben@example.test>
Subject: The lease

I agree to the new rent.

On Monday 3 June 2024 at 10:12, Ben wrote:
The new rent is 1,200 a month.

From: Carla <carla@example.test>
Sent: Sunday
Please name a rent.
"""


def document_of(text: str, **changes: object) -> ParsedDocument:
    shape = {"pages": synthetic_pages(text), "sections": find_headings(text), "paginated": False} | changes
    return ParsedDocument(text=text, title="A title", parties=(), media_type="text/plain", **shape)  # type: ignore[arg-type]


def test_each_section_of_a_note_is_a_passage_under_its_heading() -> None:
    chunks = chunk(document_of(NOTE, sections=()), template="clinical_note")
    assert [piece.heading.casefold() for piece in chunks] == ["", "history", "medication", "allergies", "plan"]
    assert [piece.text.split("\n")[0] for piece in chunks][1:] == [
        "HISTORY",
        "MEDICATION: aspirin 75 mg daily, ramipril 5 mg daily.",
        "ALLERGIES: penicillin, with a rash in 2019.",
        "PLAN",
    ]
    assert len(chunk(document_of(NOTE, sections=()))) == 1


def test_a_word_of_a_sentence_is_no_note_section() -> None:
    text = "The plan\nwas made. He has a history of falls.\nMedication was given.\n"
    assert len(chunk(document_of(text, sections=()), template="clinical_note")) == 1


def test_main_clauses_are_not_mixed_and_short_ones_are_joined() -> None:
    short = "3. Law\n\nEnglish law.\n\n4. Costs\n\nEach its own."
    text = f"1. Delivery\n\n{CLAUSE * 5}\n\n2. Payment\n\n{CLAUSE * 5}\n\n{short}"
    document = document_of(text)
    contract = [piece.text.split("\n")[0] for piece in chunk(document, template="contract")]
    assert contract == ["1. Delivery", "2. Payment", "3. Law"]
    assert len(chunk(document)) == 1


def test_a_sub_clause_stays_whole() -> None:
    clauses = "\n".join(f"2.{number} {CLAUSE * 3}" for number in range(1, 9))
    chunks = chunk(document_of(f"2. Services\n\n{clauses}"), template="contract")
    assert len(chunks) > 2
    assert all(piece.text.lstrip().startswith("2.") for piece in chunks)
    assert sum(piece.text.count("The supplier") for piece in chunks) == 24


def test_every_heading_of_a_policy_starts_a_passage() -> None:
    text = "\n\n".join(f"{word}\n\n{CLAUSE * 3}" for word in ("SCOPE", "DUTIES", "RECORDS"))
    assert [piece.heading for piece in chunk(document_of(text), template="policy")] == ["SCOPE", "DUTIES", "RECORDS"]


def test_a_slide_is_a_passage() -> None:
    slides = ["Goals\n\nSell more.", "Means\n\nAsk nicely.", CLAUSE * 20]
    text, starts = "\n\n".join(slides), [0, 20, 40]
    starts = [text.index(slide) for slide in slides]
    sections = (Section("Goals", 1, 0), Section("Means", 1, starts[1]))
    document = document_of(text, pages=pages_from_starts(tuple(starts), len(text)), sections=sections, paginated=True)
    chunks = chunk(document, template="slides")
    assert [(piece.page, piece.text) for piece in chunks][:2] == [(1, slides[0]), (2, slides[1])]
    assert {piece.page for piece in chunks[2:]} == {3} and len(chunks) > 3


def test_each_message_of_a_thread_is_a_passage() -> None:
    chunks = chunk(document_of(THREAD, sections=()), template="mail")
    assert [piece.text.split("\n")[0][:8] for piece in chunks] == ["From: An", "On Monda", "From: Ca"]
    assert "1,200" in chunks[1].text and "wrote" in chunks[1].heading


def test_generic_chunks_of_the_samples_are_those_that_were_measured(repository: Path) -> None:
    digest = hashlib.sha256()
    files = sorted((repository / "samples/documents").rglob("*"))
    for path in (path for path in files if path.suffix in (".txt", ".md", ".html", ".csv", ".eml")):
        chunks = chunk(parse(path, name=path.name), template="generic")
        digest.update(json.dumps([astuple(piece) for piece in chunks]).encode())
    assert digest.hexdigest()[:16] == "175ab07a9842b817"


def test_a_template_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="template"):
        chunk(document_of("Some words."), template="novel")


@pytest.mark.parametrize("text", ["\n1.1 " * 40_000, "On " + "x" * 200_000, "\n> " * 50_000, "drug history " * 20_000])
def test_no_pattern_of_a_template_runs_away(text: str) -> None:
    for rules in TEMPLATES.values():
        document = document_of(text, sections=())
        sections = rules.sections(document)
        assert all(section.start < len(text) for section in sections)
        assert rules.ends(document, sections) == sorted(rules.ends(document, sections))
