"""Chunks of one answer as OpenAI's typed events.

Each block of the answer is an item. Words and thinking end when another block begins; calls of functions, whose pieces
may come in turns, when the answer ends.
"""

from typing import Any

import msgspec

from three_mode.errors import ThreeModeError
from three_mode.messages import (
    Chunk,
    Finish,
    LLMResponse,
    Start,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    Usage,
    UsageUpdate,
)
from three_mode.serve.surfaces.openai_responses import body, items
from three_mode.serve.surfaces.openai_responses.body import KnownResponse
from three_mode.serve.wire_out import logprobs

encode = msgspec.json.Encoder().encode
_KINDS: dict[type, type] = {TextDelta: Text, ThinkingDelta: Thinking, ToolDelta: ToolCall}
_LAST = {"completed": "response.completed", "incomplete": "response.incomplete", "cancelled": "response.incomplete"}


class _OpenItem:
    """An item that grows."""

    __slots__ = ("call_id", "function", "head", "id", "kind", "pieces", "place", "provider", "redacted", "signature")

    def __init__(self, kind: type, name: str, place: int) -> None:
        self.kind, self.id, self.place = kind, name, place
        self.pieces: list[str] = []
        self.head = b""  # what its events have in common
        self.call_id = self.function = ""
        self.signature: str | None = None
        self.redacted: str | None = None
        self.provider: str | None = None

    def as_data(self, status: str, seal: bool, scores: Any = ()) -> dict[str, Any]:
        text = "".join(self.pieces)
        if self.kind is Text:
            parts = (items.text_part(text, scores),) if status != "in_progress" else ()
            return items.text_item(self.id, parts, status)
        if self.kind is ToolCall:
            done = text or ("{}" if status != "in_progress" else "")
            return items.call_item(self.id, self.call_id, self.function, done, status)
        thought = Thinking(text, self.signature, self.redacted, self.provider)
        sealed = items.sealed(thought) if seal and status != "in_progress" else None
        return items.thinking_item(self.id, text, status, sealed)


class ResponseWriter:
    """Writes the events of one answer. `last` is the body of its last one."""

    def __init__(self, known: KnownResponse) -> None:
        self.known = known
        self._number = 0  # of the next event
        self._start = Start()
        self._usage = Usage()
        self._open: dict[tuple[type, int], _OpenItem] = {}
        self._current: tuple[type, int] | None = None
        self._text: _OpenItem | None = None  # that grew last, if the last block is text
        self._text_index = 0
        self._output: list[dict[str, Any]] = []
        self.last: dict[str, Any] | None = None

    def first(self) -> bytes:
        said = msgspec.Raw(encode(body.begun(self.known)))  # encoded once for both
        return self._event("response.created", response=said) + self._event("response.in_progress", response=said)

    def write(self, chunk: Chunk) -> bytes:
        growing = self._text
        if growing is not None and type(chunk) is TextDelta and chunk.index == self._text_index and chunk.text:
            # Most chunks by far: more of the text that grew last.
            growing.pieces.append(chunk.text)
            number, self._number = self._number, self._number + 1
            return b'%b%b,"sequence_number":%d}\n\n' % (growing.head, encode(chunk.text), number)
        match chunk:
            case TextDelta():
                return self._grow(chunk, chunk.text) if chunk.text else b""
            case ThinkingDelta():
                return self._thinking(chunk)
            case ToolDelta():
                return self._grow(chunk, chunk.arguments, chunk.id or "", chunk.name or "")
            case UsageUpdate():
                self._usage = chunk.usage
                return b""
            case Start():
                self._start = chunk
                return b""
            case Finish():
                return self._finish(chunk)

    def broken(self, error: ThreeModeError) -> bytes:
        """The last event of an answer that broke off."""
        unfinished = [item.as_data("incomplete", self.known.asked.seal) for item in self._open.values()]
        self.last = body.failed(self.known, error, [*self._done_items(), *unfinished])
        return self._event("response.failed", response=self.last)

    def _thinking(self, chunk: ThinkingDelta) -> bytes:
        said = self._grow(chunk, chunk.thinking)
        item = self._open[(ThinkingDelta, chunk.index)]
        item.signature = chunk.signature or item.signature
        item.redacted = chunk.redacted or item.redacted
        item.provider = chunk.provider or item.provider
        return said

    def _grow(
        self, chunk: TextDelta | ThinkingDelta | ToolDelta, piece: str, call_id: str = "", name: str = ""
    ) -> bytes:
        key = (type(chunk), chunk.index)
        item = self._open.get(key)
        before = b""
        if item is None or (key != self._current and item.kind is not ToolCall):
            before, item = self._begin(key, call_id, name)
        self._current = key
        self._text, self._text_index = (item, chunk.index) if item.kind is Text else (None, 0)
        if not piece:
            return before
        item.pieces.append(piece)
        number, self._number = self._number, self._number + 1
        return b'%b%b%b,"sequence_number":%d}\n\n' % (before, item.head, encode(piece), number)

    def _begin(self, key: tuple[type, int], call_id: str, name: str) -> tuple[bytes, _OpenItem]:
        said = b""
        if self._current is not None and self._current[0] is not ToolDelta:
            said = self._end(self._current)
        place = len(self._output)
        kind = _KINDS[key[0]]
        item = _OpenItem(kind, items.item_id(self.known.id, place, kind), place)
        if kind is ToolCall:
            item.call_id, item.function = call_id or f"call_{item.id[3:]}", name
        item.head = self._head(item)
        self._open[key] = item
        self._output.append({})  # its place
        said += self._event(
            "response.output_item.added", output_index=place, item=item.as_data("in_progress", self.known.asked.seal)
        )
        where = {"item_id": item.id, "output_index": place}
        if kind is Text:
            said += self._event("response.content_part.added", **where, content_index=0, part=items.text_part(""))
        elif kind is Thinking:
            part = {"type": "summary_text", "text": ""}
            said += self._event("response.reasoning_summary_part.added", **where, summary_index=0, part=part)
        return said, item

    def _head(self, item: _OpenItem) -> bytes:
        """What the deltas of an item have in common, up to the delta: encoded once, as most events are deltas."""
        kind, more = _DELTAS[item.kind]
        data = encode({"type": kind, "item_id": item.id, "output_index": item.place, **more})
        return b"event: %b\ndata: %b," % (kind.encode(), data[:-1]) + b'"delta":'

    def _end(self, key: tuple[type, int], scores: Any = ()) -> bytes:
        item = self._open.pop(key)
        text = "".join(item.pieces)
        where = {"item_id": item.id, "output_index": item.place}
        whole = item.as_data("completed", self.known.asked.seal, scores)
        if item.kind is Text:
            part = whole["content"][0]
            done = {**where, "content_index": 0}
            said = self._event("response.output_text.done", **done, text=text, logprobs=part["logprobs"])
            said += self._event("response.content_part.done", **done, part=part)
        elif item.kind is Thinking:
            done = {**where, "summary_index": 0}
            part = {"type": "summary_text", "text": text}
            said = self._event("response.reasoning_summary_text.done", **done, text=text)
            said += self._event("response.reasoning_summary_part.done", **done, part=part)
        else:
            said = self._event(
                "response.function_call_arguments.done", **where, name=item.function, arguments=whole["arguments"]
            )
        self._output[item.place] = whole
        return said + self._event("response.output_item.done", output_index=item.place, item=whole)

    def _finish(self, chunk: Finish) -> bytes:
        found = logprobs(chunk.extra) if chunk.extra else None
        scores = found["content"] if isinstance(found, dict) else ()
        said = b"".join(self._end(key, scores) for key in list(self._open))
        reply = LLMResponse(
            model=self._start.model,
            provider=self._start.provider,
            mode=self._start.mode,
            usage=self._usage,
            finish_reason=chunk.reason,
            latency=chunk.latency,
            steps=chunk.steps,
        )
        self.last = body.ended(self.known, reply, self._output)
        return said + self._event(_LAST[self.last["status"]], response=self.last)

    def _done_items(self) -> list[dict[str, Any]]:
        return [item for item in self._output if item]

    def _event(self, kind: str, **data: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        said = encode({"type": kind, **data, "sequence_number": number})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), said)


_DELTAS: dict[type, tuple[str, dict[str, Any]]] = {
    Text: ("response.output_text.delta", {"content_index": 0, "logprobs": ()}),
    Thinking: ("response.reasoning_summary_text.delta", {"summary_index": 0}),
    ToolCall: ("response.function_call_arguments.delta", {}),
}
