"""A folder as people have it: every format, copies of files under other names, and broken ones of every kind.

What is to become of each file is known beforehand: ready, failed (with what cause does not matter here) or refused.
"""

from __future__ import annotations

import email.message
import io
import json
import random
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pypandoc  # type: ignore[import-untyped]
from page_words import pdf_of
from PIL import Image, ImageDraw
from pypdf import PdfReader, PdfWriter

SAMPLES = Path(__file__).parents[2] / "samples" / "documents"
MOST_BYTES = 3 * 1024 * 1024  # an upload's, as the tests set it


@dataclass(frozen=True)
class Wanted:
    """A question, the sentence that answers it, and where that stands."""

    question: str
    sentence: str
    file: str
    page: int


@dataclass
class Mixed:
    """The folder, and for each path what is to become of it."""

    root: Path
    expected: dict[str, str] = field(default_factory=dict)
    wanted: list[Wanted] = field(default_factory=list)

    def add(self, place: str, content: bytes, state: str) -> None:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.expected[f"{self.root.name}/{place}"] = state

    def of(self, state: str) -> set[str]:
        return {path for path, known in self.expected.items() if known == state}


def mixed_folder(root: Path, num_files: int, mark: str) -> Mixed:
    """Makes `num_files` files: three to ask about, the samples, a fifth broken, a fifth copies, else every format."""
    mixed = Mixed(root)
    _add_wanted(mixed, mark)
    for path in sorted(SAMPLES.rglob("*.*")):
        mixed.add(f"samples/{path.parent.name}/{path.name}", path.read_bytes(), "ready")
    broken = cycle(_broken(mark))
    for number in range(num_files // 5):
        name, content, state = next(broken)
        mixed.add(f"broken/{number:03}-{name}", content(), state)
    num_copies = num_files // 5
    left_out = () if shutil.which("tesseract") else ("png", "jpg", "tiff")  # without it they cannot be read
    makers = cycle((suffix, make) for suffix, make in _FORMATS.items() if suffix not in left_out)
    for number in range(num_files - num_copies - len(mixed.expected)):
        suffix, make = next(makers)
        mixed.add(f"{suffix}/{number:03}-{mark}.{suffix}", make(f"{mark}{number:03}"), "ready")
    chance = random.Random(mark)
    originals = sorted(path for path in mixed.of("ready") if "/wanted/" not in path)
    for number in range(num_copies):
        source = root.parent / chance.choice(originals)
        mixed.add(f"copies/{number:03}-{source.name}", source.read_bytes(), "ready")
    assert len(mixed.expected) == num_files
    return mixed


def _add_wanted(mixed: Mixed, mark: str) -> None:
    things = (("freezer", "defrosted", 2), ("boiler", "serviced", 3), ("ladder", "inspected", 1))
    for at, (thing, done, page) in enumerate(things):
        name = f"{mark.capitalize()}{thing}"
        sentence = f"The {name} shall be {done} every {at + 3} weeks by the estates team."
        pages = [[f"Rules of the {name}, sheet {n}", *_filler(f"{thing}{n}")] for n in (1, 2, 3)]
        pages[page - 1].insert(5, sentence)
        path = mixed.root / "wanted" / f"{name}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        pdf_of(str(path), pages)
        place = f"{mixed.root.name}/wanted/{path.name}"
        mixed.expected[place] = "ready"
        mixed.wanted.append(Wanted(f"How often shall the {name} be {done}?", sentence, place, page))


def _filler(word: str, lines: int = 12) -> list[str]:
    return [f"Line {n} of {word}: the keeper of store {word}{n} reads its scale." for n in range(lines)]


def _text(mark: str) -> bytes:
    return "\n\n".join(_filler(mark)).encode()


def _markup(mark: str, to: str) -> bytes:
    return pypandoc.convert_text(f"# Notice {mark}\n\n" + _text(mark).decode(), to, format="md").encode()


def _packed(mark: str, to: str) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=f".{to}") as out:
        pypandoc.convert_text(f"# Notice {mark}\n\n" + _text(mark).decode(), to, format="md", outputfile=out.name)
        return Path(out.name).read_bytes()


def _saved(document: Any) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _docx(mark: str) -> bytes:
    document = docx.Document()
    document.add_heading(f"Notice {mark}")
    for line in _filler(mark):
        document.add_paragraph(line)
    return _saved(document)


def _xlsx(mark: str) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in [("store", "scale"), *((f"{mark}{n}", n * 7) for n in range(12))]:
        sheet.append(row)
    return _saved(book)


def _pptx(mark: str) -> bytes:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = f"Notice {mark}"
    slide.placeholders[1].text = "\n".join(_filler(mark, 5))
    return _saved(deck)


def _pdf(mark: str) -> bytes:
    out = io.BytesIO()
    pdf_of(out, [[f"Notice {mark}", *_filler(mark)]])  # type: ignore[arg-type]
    return out.getvalue()


def _mail(mark: str) -> bytes:
    message = email.message.EmailMessage()
    message["From"], message["Subject"] = "ann@example.org", f"Notice {mark}"
    message.set_content(_text(mark).decode())
    return message.as_bytes()


def _zip(mark: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr(f"inside-{mark}.txt", _text(f"inside{mark}"))
    return out.getvalue()


def _picture(mark: str, kind: str) -> bytes:
    page = Image.new("L", (1_000, 220), 255)
    draw = ImageDraw.Draw(page)
    for at, line in enumerate(_filler(mark, 3)):
        draw.text((30, 30 + 60 * at), line, fill=0, font_size=28)
    out = io.BytesIO()
    page.save(out, kind)
    return out.getvalue()


#: What makes a sound file of each format. Some come more often, as they do in folders.
_FORMATS: dict[str, Callable[[str], bytes]] = {
    "txt": _text,
    "md": _text,
    "docx": _docx,
    "pdf": _pdf,
    "eml": _mail,
    "html": lambda mark: b"<html><body><p>" + _text(mark).replace(b"\n\n", b"</p><p>") + b"</p></body></html>",
    "csv": lambda mark: "\n".join(["store,scale", *(f"{mark}{n},{n * 7}" for n in range(12))]).encode(),
    "tsv": lambda mark: "\n".join(["store\tscale", *(f"{mark}{n}\t{n * 7}" for n in range(12))]).encode(),
    "json": lambda mark: json.dumps({f"{mark}{n}": line for n, line in enumerate(_filler(mark))}).encode(),
    "xml": lambda mark: f"<notice><mark>{mark}</mark><p>{'</p><p>'.join(_filler(mark))}</p></notice>".encode(),
    "rst": lambda mark: _markup(mark, "rst"),
    "xlsx": _xlsx,
    "pptx": _pptx,
    "odt": lambda mark: _packed(mark, "odt"),
    "epub": lambda mark: _packed(mark, "epub"),
    "zip": _zip,
    "png": lambda mark: _picture(mark, "PNG"),
    "jpg": lambda mark: _picture(mark, "JPEG"),
    "tiff": lambda mark: _picture(mark, "TIFF"),
}


def _locked(mark: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(_pdf(mark))))
    writer.encrypt("a password", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("0.txt", "w") as member:
        for _ in range(600):
            member.write(bytes(1_000_000))
    return out.getvalue()


def _poison() -> bytes:
    """A picture of as many points as are allowed, which wants more memory than its parser may have: it kills it."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(1)
    rows = bytes(100 * (1 + 4 * 10_000))
    points = b"".join([*(packer.compress(rows) for _ in range(100)), packer.flush()])
    head = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", points) + part(b"IEND", b"")


def _linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        link = zipfile.ZipInfo("notes.txt")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    return out.getvalue()


def _broken(mark: str) -> list[tuple[str, Callable[[], bytes], str]]:
    """(name, what makes it, what becomes of it). Each call of a maker gives other bytes, where that is possible."""
    numbers: Iterator[int] = iter(range(1_000_000))
    kept: dict[str, bytes] = {}

    def once(name: str, make: Callable[[], bytes]) -> Callable[[], bytes]:
        """Dear to make: made once, told apart by bytes after its end."""
        return lambda: kept.setdefault(name, make()) if name not in kept else kept[name] + b"%d" % next(numbers)

    def fresh(make: Callable[[str], bytes]) -> Callable[[], bytes]:
        return lambda: make(f"{mark}broken{next(numbers)}")

    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))

    def laughs(name: str) -> bytes:
        return f'<!DOCTYPE x [<!ENTITY e0 "{name}">{levels}]><x>&e9;</x>'.encode()

    return [
        ("poison.png", once("poison", _poison), "failed"),
        ("torn.pdf", fresh(lambda name: _pdf(name)[:700]), "failed"),
        ("locked.pdf", fresh(_locked), "failed"),
        ("empty.txt", lambda: b"", "refused"),
        ("blank.txt", fresh(lambda name: b" \n" * (1 + next(numbers))), "failed"),
        ("bomb.zip", once("bomb", _bomb), "failed"),
        ("really-a-pdf.docx", fresh(_pdf), "failed"),
        ("setup.exe", fresh(lambda name: b"MZ" + name.encode()), "refused"),
        ("torn.docx", fresh(lambda name: _docx(name)[:4_000]), "failed"),
        (
            "laughs.xml",
            fresh(laughs),
            "failed",
        ),
        ("link.zip", once("link", _linked), "failed"),
        ("noise.doc", fresh(lambda name: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + name.encode() * 900), "failed"),
        ("too-large.txt", fresh(lambda name: name.encode() + b"word " * (MOST_BYTES // 5)), "refused"),
        ("no-words.png", fresh(lambda name: _empty_picture(next(numbers))), "failed"),
    ]


def _empty_picture(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (400 + shade % 400, 300), 255).save(out, "PNG")
    return out.getvalue()
