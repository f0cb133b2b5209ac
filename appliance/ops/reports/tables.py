"""A report as CSV and as lines of JSON.

A spreadsheet runs a cell that begins like a formula. Names and titles come from people and files, so such a cell gets
an apostrophe before it, which a spreadsheet takes for "this is text".
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from appliance.ops.reports.model import Report

#: With their wide forms, which some spreadsheets read alike.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def defused(cell: Any) -> str:
    """A cell that no spreadsheet runs. Numbers stay as they are."""
    if cell is None:
        return ""
    if isinstance(cell, int):
        return str(cell)
    text = str(cell)
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_FORMULA) else text


def as_csv(report: Report) -> bytes:
    """UTF-8 with a mark that spreadsheets know it by; every cell in quotes, so that no separator of theirs cuts one."""
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    writer.writerow(title for _, title in report.columns)
    writer.writerows([defused(row[name]) for name, _ in report.columns] for row in report.rows)
    if report.truncated:
        writer.writerow([in_words(report)] + [""] * (len(report.columns) - 1))
    return written.getvalue().encode("utf-8-sig", errors="replace")


def as_jsonl(report: Report) -> bytes:
    """An object for each row; the last one says so when there was more."""
    lines = [{name: row[name] for name, _ in report.columns} for row in report.rows]
    if report.truncated:
        lines.append({"truncated": True, "message": in_words(report)})
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode(errors="replace")


def in_words(report: Report) -> str:
    """That a report does not hold everything."""
    return (
        f"CUT OFF: only the first {len(report.events):,} events are in this report, and there are more. "
        "Choose a shorter time."
    )
