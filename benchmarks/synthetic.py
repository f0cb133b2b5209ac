"""A corpus of contract-like documents, made from the sample documents' sentences. The same seed, the same bytes.

Each document has names, numbers, amounts and dates of its own and its clauses in its own order, so that no two
chunks are alike. For speed only: nothing is asked of it that has a right answer.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import ingest

NUM_DOCUMENTS = 60
_PDF_LINES = 48
TOTAL_BYTES = 2_550_000  # as many as CUAD's 60 contracts have
_SENTENCE = re.compile(r"(?<=[.;])\s+(?=[A-Z(])|\n+")
_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"\b(?:[A-Z][a-z]{4,}(?:'s)?)(?=\s+[A-Z])")
_SYLLABLES = (
    "bar",
    "cor",
    "den",
    "fal",
    "gor",
    "hal",
    "kes",
    "lin",
    "mar",
    "nor",
    "pel",
    "ros",
    "sel",
    "tor",
    "ven",
    "yan",
)
_KINDS = ("Supply", "Licence", "Lease", "Maintenance", "Services", "Agency", "Research", "Storage", "Consultancy")


def write_corpus(folder: Path, samples: Path, *, seed: int = 1) -> list[Path]:
    """Writes the documents; returns their paths. `samples` is the folder of the project's sample documents."""
    sentences = _sentences(samples)
    return [_write_document(folder, sentences, random.Random(f"{seed}/{number}")) for number in range(NUM_DOCUMENTS)]


def write_pdf(path: Path, samples: Path, pages: int, *, seed: int = 1) -> None:
    """Writes one PDF of that many pages with a text layer: 48 lines of up to 75 characters, and a page number."""
    from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]
    from reportlab.lib.utils import simpleSplit  # type: ignore[import-untyped]
    from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

    sentences, chance = _sentences(samples), random.Random(seed)
    names: dict[str, str] = {}
    canvas = Canvas(str(path), pagesize=A4, invariant=True)
    waiting: list[str] = []
    for number in range(1, pages + 1):
        while len(waiting) < _PDF_LINES:
            said = " ".join(_varied(sentence, names, chance) for sentence in chance.sample(sentences, 3))
            waiting += [*simpleSplit(said, "Helvetica", 11, 400), ""]
        text = canvas.beginText(72, 780)
        text.setFont("Helvetica", 11)
        text.textLines("\n".join(waiting[:_PDF_LINES]))
        del waiting[:_PDF_LINES]
        canvas.drawText(text)
        canvas.drawString(280, 40, str(number))
        canvas.showPage()
    canvas.save()


def _sentences(samples: Path) -> list[str]:
    return sorted(
        {
            " ".join(sentence.split())
            for path in sorted(samples.rglob("*.*"))
            for sentence in _SENTENCE.split(ingest.parse(path, name=path.name).text)
            if 40 <= len(sentence) <= 600
        }
    )


def questions(paths: list[Path], count: int, *, seed: int = 1) -> list[str]:
    """Questions of six to ten words out of one sentence each, evenly over the documents."""
    chance = random.Random(seed)
    asked = []
    for number in range(count):
        clauses = [line for line in paths[number % len(paths)].read_text().split("\n") if len(line.split()) > 14]
        words = chance.choice(clauses).split()
        start = chance.randrange(len(words) - 10)
        asked.append(
            "What is agreed about " + " ".join(words[start : start + chance.randint(6, 10)]).strip(".,;") + "?"
        )
    return asked


def _write_document(folder: Path, sentences: list[str], chance: random.Random) -> Path:
    client, supplier, kind = _name(chance), _name(chance), chance.choice(_KINDS)
    lines = [
        f"{kind.upper()} AGREEMENT",
        f"This {kind} Agreement is made between {client} Limited and {supplier} Inc.",
    ]
    names: dict[str, str] = {}
    size_bytes, clause = 0, 0
    while size_bytes < TOTAL_BYTES // NUM_DOCUMENTS:
        clause += 1
        lines += ["", f"{clause}. {_name(chance).upper()} {chance.choice(_KINDS).upper()}", ""]
        for part in range(1, chance.randint(3, 8)):
            said = " ".join(_varied(sentence, names, chance) for sentence in chance.sample(sentences, 2))
            lines.append(f"{clause}.{part} {said}")
            size_bytes += len(lines[-1].encode()) + 1
    path = folder / f"{client}-{supplier}-{kind}-agreement.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _varied(sentence: str, names: dict[str, str], chance: random.Random) -> str:
    sentence = _NUMBER.sub(lambda match: str(chance.randrange(10 ** len(match.group()))), sentence)
    return _NAME.sub(lambda match: names.setdefault(match.group(), _name(chance)), sentence)


def _name(chance: random.Random) -> str:
    return "".join(chance.choices(_SYLLABLES, k=chance.randint(2, 3))).capitalize()
