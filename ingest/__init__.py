"""Bytes to text with page and character offsets, and text to chunks.

Imports neither Django nor the rest of the appliance, loads no model and opens no connection. Importing it is
cheap: each parser is loaded when the first file of its kind arrives.
"""

from ingest.chunking import chunk
from ingest.media import SUPPORTED_EXTENSIONS, detect_media_type
from ingest.naming import name_words
from ingest.options import Options
from ingest.parsing import parse
from ingest.types import Child, Chunk, IngestError, Page, PageLayout, ParsedDocument, Section, Word

__all__ = [
    "SUPPORTED_EXTENSIONS",
    "Child",
    "Chunk",
    "IngestError",
    "Options",
    "Page",
    "PageLayout",
    "ParsedDocument",
    "Section",
    "Word",
    "chunk",
    "detect_media_type",
    "name_words",
    "parse",
]
