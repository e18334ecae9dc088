"""Chunks of an answer as the server-sent events of Anthropic's Messages API. Pure.

    message_start, then for each block content_block_start, content_block_delta..., content_block_stop,
    then message_delta with the reason and the usage, and message_stop

Blocks come one after the other, since clients run a tool when its block stops. A model may write several calls at once:
what belongs to another block waits while the arguments of the open call are no whole object.
"""

from typing import Any

import msgspec

from three_mode.errors import ThreeModeError
from three_mode.messages import (
    Chunk,
    Finish,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    Usage,
    UsageUpdate,
)
from three_mode.serve.faults import from_error
from three_mode.serve.ignored import NOTHING_SENT, Sent, ignored
from three_mode.serve.surfaces.anthropic_messages.proofs import sealed
from three_mode.serve.surfaces.anthropic_messages.refusals import anthropic_fault
from three_mode.serve.surfaces.anthropic_messages.reply import encode, stopped, used

Delta = TextDelta | ThinkingDelta | ToolDelta
Key = tuple[type[Delta], int]


def event(kind: str, **fields: Any) -> bytes:
    """One event."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields}))


class EventWriter:
    """Chunks of one answer as events.

    What does not change within a block is encoded once: a text delta costs the escaping of its text and little else.
    """

    def __init__(self, number: str, model: str, shows_thinking: bool = True, asked: Sent = NOTHING_SENT) -> None:
        self._number, self._model, self._shows_thinking = number, model, shows_thinking
        self._asked = asked
        self._started = False
        self._by = Start()
        self._usage = Usage()
        self._count = 0  # blocks so far
        self._open: Key | None = None
        self._text = b""  # head of a text delta of the open block
        self._thought: ThinkingDelta | None = None  # of the open block: the provider and its proof so far
        self._arguments: list[str] = []  # of the open call
        self._called: set[int] = set()  # calls whose blocks have stopped
        self._held: list[Delta] = []

    def first(self) -> bytes:
        """Nothing: the first event holds what the first chunk says."""
        return b""

    def write(self, chunk: Chunk) -> bytes:
        """The events of a chunk."""
        if type(chunk) is TextDelta and self._open == (TextDelta, chunk.index):
            return b"%b%b}}\n\n" % (self._text, encode(chunk.text))
        out: list[bytes] = []
        if not self._started:
            self._started = True
            out.append(self._start(chunk))
        match chunk:
            case UsageUpdate():
                self._usage = chunk.usage
            case Finish():
                self._finish(chunk, out)
            case Start():
                self._by = chunk
            case _:
                self._put(chunk, out)
        return b"".join(out)

    def broken(self, error: ThreeModeError) -> bytes:
        """The last event of an answer that broke off."""
        said = msgspec.json.decode(anthropic_fault(from_error(error)).body)
        return event("error", error=said["error"])

    def _start(self, chunk: Chunk) -> bytes:
        model = (chunk.model if isinstance(chunk, Start) else "") or self._model
        message: dict[str, Any] = {
            "id": self._number,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": used(self._usage),  # what was used is told at the end
        }
        return event("message_start", message=message)

    def _put(self, chunk: Delta, out: list[bytes], *, at_end: bool = False) -> None:
        key: Key = (type(chunk), chunk.index)
        if key != self._open:
            if _is_empty(chunk) or (key[0] is ToolDelta and chunk.index in self._called):
                return  # behind a whole object come blanks at most
            if self._waits() and not at_end:
                self._held.append(chunk)
                return
            self._stop(out)
            self._begin(chunk, key, out)
        self._add(chunk, out)
        if self._held and not at_end and not self._waits():
            held, self._held = self._held, []
            for each in held:
                self._put(each, out)

    def _waits(self) -> bool:
        """Whether more of the open call may come."""
        if self._open is None or self._open[0] is not ToolDelta:
            return False
        try:
            return not isinstance(msgspec.json.decode("".join(self._arguments)), dict)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return True

    def _begin(self, chunk: Delta, key: Key, out: list[bytes]) -> None:
        place = self._count
        if isinstance(chunk, TextDelta):
            block: dict[str, Any] = {"type": "text", "text": ""}
            self._text = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"text_delta","text":' % place
            )
        elif isinstance(chunk, ToolDelta):
            identity = chunk.id or f"toolu_{self._number}_{place}"
            block = {"type": "tool_use", "id": identity, "name": chunk.name or "", "input": {}}
            self._arguments = []
        elif chunk.redacted is not None:
            block = {"type": "redacted_thinking", "data": sealed(chunk.provider, chunk.redacted)}
        else:
            block = {"type": "thinking", "thinking": "", "signature": ""}
            self._thought = ThinkingDelta()
        self._open = key
        out.append(event("content_block_start", index=place, content_block=block))

    def _add(self, chunk: Delta, out: list[bytes]) -> None:
        if isinstance(chunk, TextDelta):
            if chunk.text:
                out.append(b"%b%b}}\n\n" % (self._text, encode(chunk.text)))
        elif isinstance(chunk, ToolDelta):
            if chunk.arguments:
                self._arguments.append(chunk.arguments)
                out.append(self._delta({"type": "input_json_delta", "partial_json": chunk.arguments}))
        elif self._thought is not None:
            before = self._thought
            self._thought = ThinkingDelta(
                signature=chunk.signature or before.signature, provider=chunk.provider or before.provider
            )
            if chunk.thinking and self._shows_thinking:
                out.append(self._delta({"type": "thinking_delta", "thinking": chunk.thinking}))

    def _stop(self, out: list[bytes]) -> None:
        """Ends the open block."""
        if self._open is None:
            return
        kind, index = self._open
        if kind is ToolDelta:
            self._called.add(index)
        elif self._thought is not None:
            proof = sealed(self._thought.provider, self._thought.signature)
            self._thought = None
            if proof:
                out.append(self._delta({"type": "signature_delta", "signature": proof}))
        out.append(event("content_block_stop", index=self._count))
        self._open = None
        self._count += 1

    def _finish(self, chunk: Finish, out: list[bytes]) -> None:
        together: dict[Key, list[Delta]] = {}
        for held in self._held:
            together.setdefault((type(held), held.index), []).append(held)
        for deltas in together.values():
            for each in deltas:
                self._put(each, out, at_end=True)
        self._stop(out)
        reason, sequence = stopped(chunk.reason, chunk.extra)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        unused = ignored(self._asked, self._by.mode, self._by.provider) if self._asked else ()
        more = {"three_mode": {"ignored": unused}} if unused else {}
        out.append(event("message_delta", delta=delta, usage=used(self._usage), **more))
        out.append(event("message_stop"))

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return event("content_block_delta", index=self._count, delta=delta)


def _is_empty(chunk: Delta) -> bool:
    """Whether a chunk begins no block."""
    if isinstance(chunk, TextDelta):
        return not chunk.text
    if isinstance(chunk, ThinkingDelta):
        return not (chunk.thinking or chunk.signature or chunk.redacted)
    return False
