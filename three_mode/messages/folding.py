"""Folding of chunks into an answer, and splitting of an answer into chunks.

Streams, caches, recordings and tests all use it.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import assert_never

from three_mode.messages.chunks import Chunk, Finish, Start, TextDelta, ThinkingDelta, ToolDelta, UsageUpdate
from three_mode.messages.parts import Image, Part, Text, Thinking, ToolCall, ToolResult
from three_mode.messages.plain import tool_call
from three_mode.messages.reply import LLMResponse
from three_mode.messages.usage import Usage


class _GrowingPart:
    """One part while it grows. Pieces are joined once, at the end, so that a long answer costs linear time."""

    __slots__ = ("call_id", "kind", "name", "pieces", "provider", "redacted", "signature")

    def __init__(self, kind: type[Chunk]) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.call_id: str | None = None
        self.name: str | None = None
        self.signature: str | None = None
        self.redacted: str | None = None
        self.provider: str | None = None

    def part(self) -> Part | None:
        text = "".join(self.pieces)
        if self.kind is TextDelta:
            return Text(text) if text else None
        if self.kind is ThinkingDelta:
            return Thinking(text, self.signature, self.redacted, self.provider)
        return tool_call(self.call_id or "", self.name or "", text, self.signature)


class Folding:
    """Answer while it arrives: `add` takes each chunk; `response()` is the answer so far."""

    def __init__(self) -> None:
        self._start = Start()
        self._blocks: dict[tuple[type[Chunk], int], _GrowingPart] = {}
        self._usage = Usage()
        self._finish: Finish | None = None
        # Index and pieces of the text that grew last, to which most chunks add.
        self._text: tuple[int | None, list[str]] = (None, [])

    @property
    def has_content(self) -> bool:
        """Whether any text, thinking or tool call came; a start is no content."""
        return bool(self._blocks)

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""
        return self._finish is not None

    def add(self, chunk: Chunk) -> None:
        """Adds the next chunk."""
        match chunk:
            case TextDelta():
                index, pieces = self._text
                if chunk.index != index and chunk.text:
                    pieces = self._block(chunk).pieces
                    self._text = (chunk.index, pieces)
                pieces.append(chunk.text)
            case ThinkingDelta():
                block = self._block(chunk)
                block.pieces.append(chunk.thinking)
                block.signature = chunk.signature or block.signature
                block.redacted = chunk.redacted or block.redacted
                block.provider = chunk.provider or block.provider
            case ToolDelta():
                block = self._block(chunk)
                block.pieces.append(chunk.arguments)
                block.call_id = chunk.id or block.call_id
                block.name = chunk.name or block.name
                block.signature = chunk.signature or block.signature
            case UsageUpdate():
                self._usage = chunk.usage
            case Start():
                self._start = chunk
            case Finish():
                self._finish = chunk
            case _:
                assert_never(chunk)

    def response(self) -> LLMResponse:
        """The answer so far; its finish reason is `cancelled` while no `Finish` has come."""
        finish = self._finish or Finish(reason="cancelled")
        parts = (block.part() for block in self._blocks.values())
        return LLMResponse(
            parts=tuple(part for part in parts if part is not None),
            model=self._start.model,
            provider=self._start.provider,
            mode=self._start.mode,
            usage=self._usage,
            finish_reason=finish.reason,
            latency=finish.latency,
            request_id=self._start.request_id,
            created_at=self._start.created_at or datetime.now(UTC),
            steps=finish.steps,
            extra=finish.extra,
        )

    def _block(self, chunk: TextDelta | ThinkingDelta | ToolDelta) -> _GrowingPart:
        key = (type(chunk), chunk.index)
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = _GrowingPart(key[0])
        return block


def fold(chunks: Iterable[Chunk]) -> LLMResponse:
    """Folds chunks into the answer that they make up."""
    folding = Folding()
    for chunk in chunks:
        folding.add(chunk)
    return folding.response()


def chunks_of(response: LLMResponse) -> Iterator[Chunk]:
    """Splits an answer into the fewest chunks that fold into it: streams a reply from a cache or from a local model."""
    yield Start(
        model=response.model,
        provider=response.provider,
        mode=response.mode,
        request_id=response.request_id,
        created_at=response.created_at,
    )
    for index, part in enumerate(response.parts):
        match part:
            case Text():
                yield TextDelta(part.text, index)
            case Thinking():
                yield ThinkingDelta(part.text, part.signature, part.redacted, part.provider, index)
            case ToolCall():
                arguments = part.raw if part.raw is not None else json.dumps(part.arguments)
                yield ToolDelta(index, part.id, part.name, arguments, part.signature)
            case Image() | ToolResult():
                raise TypeError(f"an answer with a {type(part).__name__} cannot be streamed")
            case _:
                assert_never(part)
    yield UsageUpdate(response.usage)
    yield Finish(response.finish_reason, response.latency, response.steps, response.extra)
