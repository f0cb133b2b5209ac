"""Request bodies: JSON in, engine types out. Unknown fields are ignored, as OpenAI servers do."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import from_json

from inference.errors import BadRequestError
from inference.generation import ChatRequest, CompletionRequest, Message, Priority
from inference.server.http import Caller

MAX_STOP_SEQUENCES = 4
MAX_TOKENS = 32_768


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class TextPart(Body):
    type: Literal["text"]
    text: str


class WireMessage(Body):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None

    def to_message(self) -> Message:
        """Return the engine's form: one string of text, `developer` as `system`."""
        content = self.content
        text = "".join(part.text for part in content) if isinstance(content, list) else content or ""
        return Message(
            role="system" if self.role == "developer" else self.role,
            text=text,
            reasoning=self.reasoning or self.reasoning_content or "",
            tool_call_id=self.tool_call_id,
            tool_calls=tuple(self.tool_calls or ()),
        )


class StreamOptions(Body):
    include_usage: bool = False


class _Sampled(Body):
    """What every request for text may ask for. `top_k` and `priority` are beyond OpenAI's fields."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    stop: str | list[str] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=1_000_000)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    priority: Priority | None = None
    user: str | None = Field(default=None, max_length=512)

    @field_validator("n")
    @classmethod
    def _one_choice(cls, n: int | None) -> int | None:
        if n not in (None, 1):
            raise ValueError("must be 1: this server writes one answer per request")
        return n

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, stop: str | list[str] | None) -> str | list[str] | None:
        sequences = [stop] if isinstance(stop, str) else stop or []
        if len(sequences) > MAX_STOP_SEQUENCES:
            raise ValueError(f"at most {MAX_STOP_SEQUENCES} sequences are allowed")
        if any(not sequence for sequence in sequences):
            raise ValueError("a sequence must not be empty")
        return stop

    @model_validator(mode="after")
    def _options_need_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only allowed with stream set to true")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop sequences."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ChatBody(_Sampled):
    """POST /v1/chat/completions."""

    messages: list[WireMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    reasoning_effort: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None

    def to_request(self, caller: Caller) -> ChatRequest:
        """Return the engine's form; `max_completion_tokens` wins over the older `max_tokens`."""
        return ChatRequest(
            model=self.model,
            messages=tuple(message.to_message() for message in self.messages),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=self.stops,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            seed=self.seed,
            priority=self.priority or "chat",
            caller=caller.name,
            access_key=caller.access_key,
            reasoning_effort=self.reasoning_effort,
            tools=tuple(self.tools or ()),
            tool_choice=self.tool_choice,
            response_format=self.response_format,
        )


class CompletionBody(_Sampled):
    """POST /v1/completions: one prompt of plain text. Arrays of token ids are refused."""

    prompt: str
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    @model_validator(mode="after")
    def _only_what_is_done(self) -> Self:
        if self.echo or self.suffix or self.best_of not in (None, 1):
            raise ValueError("echo, suffix and best_of are not supported; leave them out")
        return self

    def to_request(self, caller: Caller) -> CompletionRequest:
        """Return the engine's form. OpenAI's default of 16 tokens is kept."""
        return CompletionRequest(
            model=self.model,
            prompt=self.prompt,
            max_tokens=self.max_tokens or 16,
            stop=self.stops,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            seed=self.seed,
            priority=self.priority or "chat",
            caller=caller.name,
            access_key=caller.access_key,
        )


class EmbeddingsBody(Body):
    """POST /v1/embeddings. Arrays of token ids are refused: their vocabulary is another model's."""

    model: str
    input: str | list[str]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None

    @field_validator("input")
    @classmethod
    def _something_to_embed(cls, value: str | list[str]) -> str | list[str]:
        texts = [value] if isinstance(value, str) else value
        if not texts or any(not text for text in texts):
            raise ValueError("must be a string or a list of strings, none empty")
        return value

    @property
    def texts(self) -> list[str]:
        """The inputs as a list, in the order given."""
        return [self.input] if isinstance(self.input, str) else self.input


class RerankBody(Body):
    """POST /v1/rerank, in the shape that Cohere, Jina and vLLM share. Documents are plain strings."""

    model: str
    query: str = Field(min_length=1)
    documents: list[str] = Field(min_length=1)
    top_n: int | None = Field(default=None, ge=1)


BodyT = TypeVar("BodyT", bound=Body)


def parse_body(model: type[BodyT], raw: bytes) -> BodyT:
    """Parse and check a body. Raises BadRequestError that names the field but never repeats its value."""
    try:
        data = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise BadRequestError(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(data, dict):
        raise BadRequestError("The body must be a JSON object.", code="invalid_json")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        path = [str(part) for part in first["loc"]]
        message = first["msg"].removeprefix("Value error, ")
        where = f"{path[0]}: " if path else ""
        raise BadRequestError(f"{where}{message}", param=path[0] if path else None) from None
