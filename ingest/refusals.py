"""Every reason for which a file is refused, in words for the person who uploaded it.

| code | when |
|---|---|
| `empty_file` | 0 bytes |
| `unsupported_type` | a type this release does not read |
| `type_mismatch` | the content is not what the name's extension says |
| `encrypted` | a password is needed to open it |
| `wrong_password` | a password was given and does not open it |
| `damaged` | truncated, garbage, or not readable as the type it claims |
| `too_large_unpacked` | what it unpacks to, or a picture in it, is beyond the limits |
| `nested_too_deeply` | archives within archives within archives |
| `unsafe_content` | XML entity declarations; links and paths that lead out of an archive |
| `scanned` | pages that are pictures, and no words could be read in them |
| `ocr_unavailable` | pictures, and the program that reads words in them is not installed |
| `converter_unavailable` | an old Office file, and LibreOffice is not installed |
| `no_text` | it opened, and no words came out, or none but the numbers of its pages |

These are permanent: the same bytes will be refused again. Three are not, because trying again may help:
`too_slow`, `too_much_memory` and `reader_crashed`.
"""

from __future__ import annotations

from ingest.types import IngestError

SUPPORTED_NAMES = (
    "PDF, Word (.docx, .doc), PowerPoint (.pptx, .ppt), Excel (.xlsx, .xls), tables (.csv, .tsv), e-mail (.eml, .msg), "
    "HTML, Markdown, reStructuredText, plain text, XML, JSON, RTF, OpenDocument text (.odt), EPUB, "
    "pictures (.png, .jpg, .tiff, .heic) and zip archives of these"
)

MACROS_NOTE = "It holds macros. They were not run and are not part of the text."


def empty_file(name: str) -> IngestError:
    return IngestError(
        "empty_file",
        f"“{name}” was refused because it is empty (0 bytes).",
        hint="Check the original and upload it again; a copy that was interrupted often looks like this.",
    )


def unsupported_type(name: str, found: str) -> IngestError:
    return IngestError(
        "unsupported_type",
        f"“{name}” was refused because it is {found}, which this release does not read.",
        hint=f"Supported: {SUPPORTED_NAMES}. Save it as one of these and upload that.",
    )


def type_mismatch(name: str, found: str, extension: str) -> IngestError:
    return IngestError(
        "type_mismatch",
        f"“{name}” was refused because its name ends in {extension} but its content is {found}.",
        hint="Check that it is the file you meant. If it is, give it the extension of what it really is.",
    )


def encrypted(name: str, kind: str) -> IngestError:
    return IngestError(
        "encrypted",
        f"“{name}” was refused because this {kind} cannot be opened without a password.",
        hint="Give its password, which is not kept; or save a copy without one and upload that.",
    )


def wrong_password(name: str, kind: str) -> IngestError:
    return IngestError(
        "wrong_password",
        f"“{name}” was refused because the password given does not open this {kind}.",
        hint="Check the password and give it again. It was not kept.",
    )


def damaged(name: str, kind: str, detail: str = "") -> IngestError:
    because = f" ({detail})" if detail else ""
    return IngestError(
        "damaged",
        f"“{name}” was refused because it cannot be read as {kind}{because}: it is damaged or incomplete.",
        hint="Open it in the program that made it, save it again, and upload the new copy.",
    )


def too_large_unpacked(name: str, detail: str) -> IngestError:
    return IngestError(
        "too_large_unpacked",
        f"“{name}” was refused before it was opened because {detail}.",
        hint="Split the document, or remove large embedded objects, and upload it again.",
    )


def nested_too_deeply(name: str, depth: int) -> IngestError:
    return IngestError(
        "nested_too_deeply",
        f"“{name}” was refused because it holds archives inside archives, deeper than {depth} levels.",
        hint="Unpack it, and upload what is inside.",
    )


def unsafe_content(name: str, because: str) -> IngestError:
    return IngestError(
        "unsafe_content",
        f"“{name}” was refused because {because}.",
        hint="Save it anew in the program that made it, and upload that. "
        "If you did not expect this, tell your security officer.",
    )


def scanned(name: str, num_pages: int) -> IngestError:
    pages = "its only page is a picture" if num_pages == 1 else f"its {num_pages} pages are pictures"
    return IngestError(
        "scanned",
        f"“{name}” was refused because {pages} without a text layer, and no words could be read in "
        f"{'it' if num_pages == 1 else 'them'}.",
        hint="Scan it again, straight and at 300 dots per inch or more, and upload the result.",
    )


def ocr_unavailable(name: str) -> IngestError:
    return IngestError(
        "ocr_unavailable",
        f"“{name}” was refused because its text stands in pictures, and the program that reads pictures (tesseract) "
        "is not installed here.",
        hint="Ask an administrator to install it, or upload a version with a text layer.",
    )


def converter_unavailable(name: str, kind: str) -> IngestError:
    return IngestError(
        "converter_unavailable",
        f"“{name}” was refused because {kind} is read through LibreOffice, which is not installed here.",
        hint="Ask an administrator to install it, or save the file in today’s format and upload that.",
    )


def no_text(name: str, *, besides: str = "") -> IngestError:
    return IngestError(
        "no_text",
        f"“{name}” was refused because it opened but holds no words{f' besides {besides}' if besides else ''}.",
        hint="Check that it is the right file. If its content is pictures, upload a version with text.",
    )


def too_slow(name: str, seconds: float) -> IngestError:
    return IngestError(
        "too_slow",
        f"Reading “{name}” was stopped after {seconds:,.0f} seconds without an end in sight.",
        hint="Split the document, or save it anew in the program that made it, and upload that.",
        permanent=False,
    )


def too_much_memory(name: str, limit_bytes: int) -> IngestError:
    return IngestError(
        "too_much_memory",
        f"Reading “{name}” was stopped because it needs more than the {limit_bytes / 2**20:,.0f} MB a file may use.",
        hint="Split the document, or remove large pictures and embedded objects, and upload it again.",
        permanent=False,
    )


def reader_crashed(name: str, how: str) -> IngestError:
    return IngestError(
        "reader_crashed",
        f"The program that reads “{name}” broke down over it ({how}).",
        hint="Save it anew in the program that made it, and upload that; or ask an administrator to look at it.",
        permanent=False,
    )
