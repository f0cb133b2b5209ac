"""Files that are not taken in, and what their owner is told."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import docx as python_docx
import ingest_files as make
import pytest

from ingest import IngestError, parse, zip_limits

SENTENCE = "The supplier shall deliver within two working days."


def refusal(path: Path, name: str = "") -> IngestError:
    with pytest.raises(IngestError) as caught:
        parse(path, name=name or path.name)
    error = caught.value
    assert error.permanent
    assert (name or path.name) in error.reason
    assert error.hint.endswith(".")
    return error


def word_file() -> bytes:
    document = python_docx.Document()
    document.add_paragraph(SENTENCE)
    return make.docx(document)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.docx", "a.pdf"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    assert refusal(make.write(tmp_path, name, b"")).code == "empty_file"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_a_file_of_white_space_and_punctuation(tmp_path: Path, name: str) -> None:
    assert refusal(make.write(tmp_path, name, " \n\n --- \n")).code == "no_text"


def test_a_word_document_without_words(tmp_path: Path) -> None:
    empty = make.docx(python_docx.Document())
    assert refusal(make.write(tmp_path, "a.docx", empty)).code == "no_text"


def test_slides_that_say_nothing_but_their_numbers(tmp_path: Path) -> None:
    import pptx

    def slides(*titles: str) -> Path:
        deck = pptx.Presentation()
        for title in titles:
            deck.slides.add_slide(deck.slide_layouts[0]).shapes.title.text = title
        path = tmp_path / "a.pptx"
        deck.save(path)
        return path

    refused = refusal(slides("Page 1", "Page 2 of 2"))
    assert (refused.code, "holds no words besides the numbers of its pages" in refused.reason) == ("no_text", True)
    assert parse(slides("Page 1", "Keys"), name="a.pptx").text == "Page 1\n\nKeys"


@pytest.mark.parametrize("text", ["4711", "1,2,3\n4,5,6", "Page 9 is missing", "Room 12"])
def test_a_short_file_that_says_something(tmp_path: Path, text: str) -> None:
    assert parse(make.write(tmp_path, "a.txt", text.encode()), name="a.txt").text == text


def test_a_pdf_with_a_blank_page(tmp_path: Path) -> None:
    assert refusal(make.write(tmp_path, "a.pdf", make.pdf([]))).code == "no_text"


def test_garbage_called_pdf(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(5_000)
    assert refusal(make.write(tmp_path, "a.pdf", noise)).code == "damaged"
    assert refusal(make.write(tmp_path, "b.pdf", b"%PDF-1.7\n" + noise)).code == "damaged"


def test_garbage_called_docx_or_text(tmp_path: Path) -> None:
    noise = random.Random(2).randbytes(5_000)
    assert refusal(make.write(tmp_path, "a.docx", noise)).code == "damaged"
    assert refusal(make.write(tmp_path, "a.txt", noise)).code == "damaged"


def test_a_truncated_pdf(tmp_path: Path) -> None:
    whole = make.pdf(*([[SENTENCE] * 30] * 5))
    assert parse(make.write(tmp_path, "whole.pdf", whole), name="whole.pdf").text
    assert refusal(make.write(tmp_path, "a.pdf", whole[: len(whole) // 4])).code in ("damaged", "no_text")
    assert refusal(make.write(tmp_path, "b.pdf", whole[:60])).code == "damaged"


def test_a_truncated_word_document(tmp_path: Path) -> None:
    whole = word_file()
    assert parse(make.write(tmp_path, "whole.docx", whole), name="whole.docx").text
    assert refusal(make.write(tmp_path, "a.docx", whole[: len(whole) // 2])).code == "damaged"


def test_a_word_document_whose_xml_is_broken(tmp_path: Path) -> None:
    broken = make.rewrite(word_file(), "word/document.xml", b"<w:document><w:body>")
    assert refusal(make.write(tmp_path, "a.docx", broken)).code == "damaged"


def test_html_nested_deeper_than_the_parser_reads(tmp_path: Path) -> None:
    assert refusal(make.write(tmp_path, "a.html", "<html>" + "<div>" * 3_000 + SENTENCE)).code == "damaged"


def test_an_encrypted_pdf(tmp_path: Path) -> None:
    locked = make.pdf([SENTENCE], password="correct horse")
    error = refusal(make.write(tmp_path, "a.pdf", locked))
    assert error.code == "encrypted"
    assert "password" in error.reason


def test_an_encrypted_office_document(tmp_path: Path) -> None:
    container = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1_000) + "EncryptedPackage".encode("utf-16-le") + bytes(500)
    assert refusal(make.write(tmp_path, "a.docx", container)).code == "encrypted"


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("report.pdf", b"MZ\x90\x00" + bytes(300), "a Windows program"),
        ("report.txt", b"MZ\x90\x00" + bytes(300), "a Windows program"),
        ("report.docx", make.pdf([SENTENCE]), "a PDF"),
        ("report.txt", make.pdf([SENTENCE]), "a PDF"),
        ("report.pdf", SENTENCE.encode(), "plain text"),
        ("report.docx", b"<!DOCTYPE html><p>x", "HTML"),
        ("report.md", b"\x89PNG\r\n\x1a\n" + bytes(64), "a PNG picture"),
        ("report.pdf", word_file(), "a Word document"),
        ("report.txt", b"{\\rtf1\\ansi hello}", "a rich text (RTF) document"),
        ("report.docx", make.rewrite(b"PK\x05\x06" + bytes(18), "xl/workbook.xml", b"<x/>"), "an Excel workbook"),
        ("report.docx", make.rewrite(b"PK\x05\x06" + bytes(18), "notes.txt", b"x"), "a zip archive"),
    ],
)
def test_content_that_is_not_what_the_name_says(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    error = refusal(make.write(tmp_path, name, content))
    assert error.code == "type_mismatch"
    assert error.reason.endswith(f"but its content is {found}.")


@pytest.mark.parametrize("name", ["a.mp3", "a.exe", "a.xlsb", "a.unknown", "a.docm"])
def test_a_type_that_is_not_read(tmp_path: Path, name: str) -> None:
    error = refusal(make.write(tmp_path, name, "some words"))
    assert error.code == "unsupported_type"
    assert "Word (.docx, .doc)" in error.hint and "PDF" in error.hint


def test_a_scan_without_a_text_layer(tmp_path: Path) -> None:
    error = refusal(make.write(tmp_path, "scan.pdf", make.picture_pdf(3)))
    assert error.code == "scanned"
    assert "3 pages" in error.reason


def test_pages_that_are_pictures_are_reported_when_others_have_text(tmp_path: Path) -> None:
    document = parse(make.write(tmp_path, "part.pdf", make.picture_pdf(3, text_on=2)), name="part.pdf")
    assert document.text == "This page alone has words."
    assert document.notes == ("2 of 3 pages are pictures without text and were not read: 1, 3.",)


def test_a_word_document_that_unpacks_to_too_much(tmp_path: Path) -> None:
    bomb = make.rewrite(word_file(), "word/document.xml", b" " * (zip_limits.MAX_XML_BYTES + 1))
    assert len(bomb) < 200_000
    assert refusal(make.write(tmp_path, "a.docx", bomb)).code == "too_large_unpacked"


def test_a_word_document_of_too_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make.write(tmp_path, "a.docx", word_file())
    assert SENTENCE in parse(path, name="a.docx").text
    monkeypatch.setattr(zip_limits, "MAX_MEMBERS", 5)
    assert refusal(path).code == "too_large_unpacked"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_word_document_that_declares_entities(tmp_path: Path, encoding: str) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
    bomb = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY e0 "ha">{levels}]><x>&e8;</x>'
    data = make.rewrite(word_file(), "word/document.xml", bomb.encode(encoding))
    error = refusal(make.write(tmp_path, "a.docx", data))
    assert error.code == "unsafe_content"


def test_a_refusal_survives_the_way_back_from_a_child_process(tmp_path: Path) -> None:
    error = refusal(make.write(tmp_path, "a.txt", b""))
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.reason, copy.hint, copy.permanent) == (error.code, error.reason, error.hint, True)
