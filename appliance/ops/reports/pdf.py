"""A report on paper: A4 across, its table with the head on each page, and the checkpoint it can be checked with."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from django.utils import timezone
from reportlab.lib import colors  # type: ignore[import-untyped]
from reportlab.lib.pagesizes import A4, landscape  # type: ignore[import-untyped]
from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-untyped]
from reportlab.lib.units import mm  # type: ignore[import-untyped]
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]
from reportlab.pdfbase.ttfonts import TTFError, TTFont  # type: ignore[import-untyped]
from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle  # type: ignore[import-untyped]

from appliance.ops.reports.model import Report, written
from appliance.ops.reports.tables import in_words

#: The most rows that are set on paper: the other formats hold them all.
MAX_ROWS = 2_000
#: Left out on paper, where nobody looks an id up: the other formats have them.
_UNPRINTED = {"document_id", "event", "session", "token"}
_MAX_CELL_CHARS = 600
_WIDE = {
    "document": 2.4,
    "about": 2.6,
    "rules": 3.2,
    "purpose": 2.0,
    "how": 1.4,
    "date": 1.8,
    "person": 1.4,
    "act": 1.3,
    "organisation": 1.2,
    "version": 0.7,
    "pages": 0.8,
    "passages": 0.9,
    "leaf": 1.0,
    "active": 0.6,
}
_FONTS = (Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"), "Vera.ttf")  # the second comes with reportlab


def _font() -> str:
    for path in _FONTS:
        name = f"Report-{Path(path).stem}"
        if name in pdfmetrics.getRegisteredFontNames():
            return name
        try:
            pdfmetrics.registerFont(TTFont(name, os.fspath(path)))
        except TTFError:
            continue
        return name
    raise RuntimeError("reportlab has lost its own font")


def as_pdf(report: Report, *, checkpoint: str) -> bytes:
    """The PDF. `checkpoint` is the newest signed note, "" before there is one."""
    font = _font()
    body = ParagraphStyle("body", fontName=font, fontSize=7, leading=9, splitLongWords=True, wordWrap="CJK")
    head = ParagraphStyle("head", parent=body, wordWrap=None, textColor=colors.HexColor("#33414e"))
    text = ParagraphStyle("text", parent=body, fontSize=8.5, leading=12, wordWrap=None)
    title = ParagraphStyle("title", parent=text, fontSize=14, leading=19)
    columns = [(name, label) for name, label in report.columns if name not in _UNPRINTED]
    rows = report.rows[:MAX_ROWS]
    story: list[Any] = [
        Paragraph(_safe(report.title), title),
        Paragraph(_safe(f"{str(report.period).capitalize()}. Rows: {len(report.rows):,}."), text),
        *(Paragraph(_safe(note), text) for note in report.notes),
        Spacer(1, 4 * mm),
    ]
    if rows:
        cells = [[Paragraph(_safe(label), head) for _, label in columns]]
        cells += [[Paragraph(_safe(row[name]), body) for name, _ in columns] for row in rows]
        story.append(_table(cells, [name for name, _ in columns]))
    else:
        story.append(Paragraph("Nothing was found.", text))
    if report.truncated:
        story.append(Paragraph(_safe(in_words(report)), text))
    if len(report.rows) > MAX_ROWS:
        left = len(report.rows) - MAX_ROWS
        story.append(Paragraph(f"CUT OFF: {left:,} more rows are in the other formats of this report.", text))
    story += [Spacer(1, 6 * mm), *_sealed(report, checkpoint, text)]
    return _built(story, report, font)


def _table(cells: list[list[Any]], names: list[str]) -> LongTable:
    page = landscape(A4)[0] - 24 * mm
    shares = [_WIDE.get(name, 1.0) for name in names]
    table = LongTable(cells, colWidths=[page * share / sum(shares) for share in shares], repeatRows=1)
    line = colors.HexColor("#c8d0d8")
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, line),
                ("LEFTPADDING", (0, 0), (-1, -1), 2),
                ("RIGHTPADDING", (0, 0), (-1, -1), 4),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ]
        )
    )
    return table


def _sealed(report: Report, checkpoint: str, text: ParagraphStyle) -> list[Any]:
    if not checkpoint:
        return [Paragraph("The log had no signed checkpoint yet when this was made.", text)]
    lines = "<br/>".join(_safe(line) for line in checkpoint.strip().splitlines())
    return [Paragraph("Made from the sealed log. Its newest checkpoint:", text), Paragraph(lines, text)]


def _built(story: list[Any], report: Report, font: str) -> bytes:
    written_to = io.BytesIO()

    def footed(canvas: Any, document: Any) -> None:
        canvas.setFont(font, 7)
        canvas.drawString(12 * mm, 7 * mm, f"{report.kind.label}, {written(document.made_at)}")
        canvas.drawRightString(landscape(A4)[0] - 12 * mm, 7 * mm, f"Page {canvas.getPageNumber()}")

    edges = {"leftMargin": 12 * mm, "rightMargin": 12 * mm, "topMargin": 12 * mm, "bottomMargin": 14 * mm}
    document = SimpleDocTemplate(written_to, pagesize=landscape(A4), title=report.kind.label, **edges)
    document.made_at = timezone.now()
    document.build(story, onFirstPage=footed, onLaterPages=footed)
    return written_to.getvalue()


def _safe(value: Any) -> str:
    """A text as a paragraph holds it: no markup of anybody's, nothing longer than a page."""
    given = "" if value is None else str(value)
    given = "".join(c if c.isprintable() else " " for c in given)
    return escape(given if len(given) <= _MAX_CELL_CHARS else f"{given[:_MAX_CELL_CHARS]} …")
