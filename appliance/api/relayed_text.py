"""The words in a relayed request and in its response, to be kept as what was asked and answered.

Both dialects of the gateway are read: `messages` and `choices` of chat completions, `input` and `output` of responses.
What has another shape gives no words: it is the model server that refuses it, not this.
"""

from __future__ import annotations

import json
from typing import Any


def asked(body: dict[str, Any]) -> str:
    """What came after the model last spoke: for a chat that goes on, not all that was kept before."""
    given = body.get("messages", body.get("input", ""))
    if isinstance(given, str):
        return given
    turns = _dicts(given)
    spoken = [n for n, turn in enumerate(turns, start=1) if turn.get("role") == "assistant"]
    return "\n\n".join(filter(None, (_words(turn) for turn in turns[spoken[-1] if spoken else 0 :])))


def answered(raw: bytes) -> str:
    """The text of a whole response, and the calls of tools it asks for."""
    try:
        body = json.loads(raw)
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    parts = [_words(choice.get("message")) for choice in _dicts(body.get("choices"))]
    return "\n\n".join(filter(None, parts + [_words(item) for item in _dicts(body.get("output"))]))


class Heard:
    """The text of a streamed response, event by event."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All that was heard so far."""
        return "".join(self._parts)

    def hear(self, data: str) -> None:
        """Takes the data of one event."""
        try:
            event = json.loads(data)
        except ValueError:
            return  # "[DONE]"
        if not isinstance(event, dict):
            return
        kind, delta = event.get("type", ""), event.get("delta")
        if kind in ("response.output_text.delta", "response.function_call_arguments.delta"):
            self._parts.append(str(delta))
        for choice in _dicts(event.get("choices")):
            piece = choice.get("delta")
            if isinstance(piece, dict):
                self._parts.append(_text(piece.get("content")))
                self._parts += [
                    str(call["function"].get("arguments") or "")
                    for call in _dicts(piece.get("tool_calls"))
                    if isinstance(call.get("function"), dict)
                ]


def _words(turn: Any) -> str:
    if not isinstance(turn, dict):
        return ""
    said = _text(turn.get("content")) or _text(turn.get("output"))
    called = [call["function"] for call in _dicts(turn.get("tool_calls")) if isinstance(call.get("function"), dict)]
    if turn.get("type") == "function_call":
        called.append(turn)
    calls = [f"{call.get('name', '')}({call.get('arguments', '')})" for call in called]
    return "\n".join(filter(None, [said, *calls]))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in _dicts(content))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
