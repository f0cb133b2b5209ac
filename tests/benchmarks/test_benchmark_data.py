"""What the benchmarks read and make."""

from __future__ import annotations

from pathlib import Path

import ingest
from benchmarks import synthetic
from benchmarks.lines import read_lines


def test_only_a_newline_ends_a_json_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "one\u2028two"}\n\n{"text": "three"}\n', encoding="utf-8")
    assert read_lines(path) == [{"text": "one\u2028two"}, {"text": "three"}]


def test_the_made_corpus_is_the_same_each_time_and_as_large_as_said(repository: Path, tmp_path: Path) -> None:
    samples = repository / "samples" / "documents"
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = synthetic.write_corpus(tmp_path / "one", samples)
    two = synthetic.write_corpus(tmp_path / "two", samples)
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert len({path.name for path in one}) == synthetic.NUM_DOCUMENTS
    size_bytes = sum(path.stat().st_size for path in one)
    assert synthetic.TOTAL_BYTES <= size_bytes < 1.1 * synthetic.TOTAL_BYTES
    asked = synthetic.questions(one, 3)
    assert asked == synthetic.questions(two, 3)
    assert len(set(asked)) == 3


def test_the_made_pdf_is_the_same_each_time_and_its_text_can_be_read(repository: Path, tmp_path: Path) -> None:
    samples = repository / "samples" / "documents"
    one, two = tmp_path / "one.pdf", tmp_path / "two.pdf"
    for path in (one, two):
        synthetic.write_pdf(path, samples, 3)
    assert one.read_bytes() == two.read_bytes()
    parsed = ingest.parse(one, name=one.name)
    assert [page.number for page in parsed.pages] == [1, 2, 3]
    assert all(page.end - page.start > 2_000 for page in parsed.pages)
