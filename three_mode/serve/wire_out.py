"""Our answers, chunks and models as OpenAI's bodies. Pure."""

import base64
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct, structs

from three_mode.errors import ThreeModeError
from three_mode.messages import (
    Chunk,
    Embedded,
    Finish,
    LLMResponse,
    Start,
    Step,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    Usage,
    UsageUpdate,
)
from three_mode.messages.usage import NOTHING
from three_mode.modes import CommunicationMode
from three_mode.serve import faults
from three_mode.serve.backend import ModelInfo
from three_mode.serve.ignored import NOTHING_SENT, Sent, ignored

encode = msgspec.json.encode

# What OpenAI's clients know; anything else we say is a plain end.
_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}
DONE = b"data: [DONE]\n\n"


class _Completion(Struct, gc=False):
    """A body as a struct: half the cost of a dict of dicts, for every answer."""

    id: str
    created: int
    model: str
    choices: "tuple[_Choice, ...]"
    usage: "_Used"
    three_mode: "Ours"
    object: str = "chat.completion"


class _Choice(Struct, gc=False):
    message: dict[str, Any]
    finish_reason: str
    index: int = 0
    logprobs: Any = None


class Ours(Struct, gc=False, omit_defaults=True):
    """What no protocol has a field for."""

    provider: str
    mode: CommunicationMode
    latency: float | None
    cost: Decimal | None
    steps: tuple[Step, ...]
    ignored: tuple[str, ...] = ()  # fields that did nothing


class Paid(Struct, gc=False):
    """What is ours alone of a stream's usage."""

    provider: str
    cost: Decimal | None


class _Used(Struct, gc=False):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


def completion(response: LLMResponse, request_id: str, asked: Sent = NOTHING_SENT) -> bytes:
    """The body of an answer that is not streamed; what is ours alone stands under `three_mode`."""
    return _completion(response, (_choice(response),), request_id, asked)


def completions(responses: Sequence[LLMResponse], request_id: str, asked: Sent = NOTHING_SENT) -> bytes:
    """The body of several answers to one request, which were asked for side by side."""
    whole = structs.replace(
        responses[0],
        usage=sum((response.usage for response in responses), NOTHING),
        latency=max(response.latency for response in responses),
        steps=tuple(step for response in responses for step in response.steps),
    )
    choices = tuple(_choice(response, index) for index, response in enumerate(responses))
    return _completion(whole, choices, request_id, asked)


def _completion(response: LLMResponse, choices: tuple[_Choice, ...], request_id: str, asked: Sent) -> bytes:
    created = int(response.created_at.timestamp())
    return encode(
        _Completion(request_id, created, response.model, choices, usage(response.usage), ours(response, asked))
    )


def _choice(response: LLMResponse, index: int = 0) -> _Choice:
    parts = response.parts
    if len(parts) == 1 and type(parts[0]) is Text:  # by far the most of them
        message: dict[str, Any] = {"role": "assistant", "content": parts[0].text or None}
    else:
        message = _message(response)
    scores = logprobs(response.extra) if response.extra else None
    return _Choice(message, _FINISH.get(response.finish_reason, "stop"), index, scores)


def ours(response: LLMResponse, asked: Sent = NOTHING_SENT) -> Ours:
    """What is ours alone of an answer."""
    unused = ignored(asked, response.mode, response.provider) if asked else ()
    return Ours(response.provider, response.mode, response.latency, response.usage.cost, response.steps, unused)


def logprobs(extra: Mapping[str, Any]) -> Any:
    """What tokens scored: a provider's as it came, a local model's in the same shape."""
    found = extra.get("logprobs")
    if not isinstance(found, list):
        return found
    return {"content": [_token(one["token"], one["logprob"], one["top"]) for one in found], "refusal": None}


def _token(text: str, logprob: float, top: Sequence[Any]) -> dict[str, Any]:
    said = {"token": text, "logprob": logprob, "bytes": list(text.encode())}
    others = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in top]
    return said | {"top_logprobs": others}


def _message(response: LLMResponse) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": response.content or None}
    if any(type(part) is not Text for part in response.parts):
        if response.thinking:
            message["reasoning_content"] = response.thinking
        if response.tool_calls:
            message["tool_calls"] = [_tool_call(call) for call in response.tool_calls]
    return message


def usage(used: Usage) -> _Used:
    return _Used(
        used.input_tokens,
        used.output_tokens,
        used.total_tokens,
        {"cached_tokens": used.cache_read_tokens},
        {"reasoning_tokens": used.reasoning_tokens},
    )


def _tool_call(call: ToolCall) -> dict[str, Any]:
    arguments = call.raw if call.raw is not None else encode(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


class ChunkWriter:
    """Chunks of one answer as server-sent events.

    What does not change within a stream is encoded once: a text delta costs the escaping of its text and little else.
    `index` is that of one of several answers, whose usage and end are written by `SeveralWriter`; None: it is the only
    one.
    """

    def __init__(
        self,
        request_id: str,
        model: str,
        created: int,
        include_usage: bool,
        asked: Sent = NOTHING_SENT,
        index: int | None = None,
    ) -> None:
        self._id, self._created = request_id, created
        self._include_usage = include_usage
        self._asked, self._index, self._alone = asked, index or 0, index is None
        self._start = Start()
        self.usage = Usage()
        self._tools: dict[int, int] = {}  # index of the block -> place among the tool calls, as clients count them
        self._name(model)

    def _name(self, model: str) -> None:
        head = encode({"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": model})
        self._head = b"data: " + head[:-1] + b',"choices":['
        self._text = self._head + b'{"index":%d,"delta":{"content":' % self._index
        self._model = model

    def first(self) -> bytes:
        """The role comes at once, so that a client knows that the answer has begun."""
        return self._delta({"role": "assistant", "content": ""})

    def broken(self, error: ThreeModeError) -> bytes:
        """The last event of an answer that broke off."""
        return faults.event(error)

    def write(self, chunk: Chunk) -> bytes:
        match chunk:
            case TextDelta():
                return b"%b%b%b" % (self._text, encode(chunk.text), b'},"finish_reason":null}]}\n\n')
            case ThinkingDelta():
                return self._delta({"reasoning_content": chunk.thinking}) if chunk.thinking else b""
            case ToolDelta():
                return self._delta({"tool_calls": [self._tool(chunk)]})
            case UsageUpdate():
                self.usage = chunk.usage
                return b""
            case Start():
                self._start = chunk
                if chunk.model and chunk.model != self._model:
                    self._name(chunk.model)
                return b""
            case Finish():
                return self._finish(chunk)

    def _tool(self, chunk: ToolDelta) -> dict[str, Any]:
        known = chunk.index in self._tools
        place = self._tools.setdefault(chunk.index, len(self._tools))
        function: dict[str, Any] = {"arguments": chunk.arguments}
        if chunk.name:
            function["name"] = chunk.name
        delta: dict[str, Any] = {"index": place, "function": function}
        if not known:
            delta |= {"id": chunk.id or f"call_{place}", "type": "function"}
        return delta

    def _finish(self, chunk: Finish) -> bytes:
        scores = logprobs(chunk.extra) if chunk.extra else None
        unused = ignored(self._asked, self._start.mode, self._start.provider) if self._asked else ()
        said = self._delta({}, _FINISH.get(chunk.reason, "stop"), scores, unused)
        return said + self.end(self.usage) if self._alone else said

    def end(self, used: Usage) -> bytes:
        """The end of the stream, behind all answers."""
        if not self._include_usage:
            return DONE
        paid = encode(Paid(self._start.provider, used.cost))
        return self._head + b'],"usage":' + encode(usage(used)) + b',"three_mode":' + paid + b"}\n\n" + DONE

    def _delta(
        self, delta: dict[str, Any], finish: str | None = None, scores: Any = None, unused: Sequence[str] = ()
    ) -> bytes:
        choice = {"index": self._index, "delta": delta, "finish_reason": finish}
        if scores is not None:
            choice["logprobs"] = scores
        more = b',"three_mode":%b' % encode({"ignored": unused}) if unused else b""
        return b"%b%b]%b}\n\n" % (self._head, encode(choice), more)


def models(known: Sequence[ModelInfo], created: int) -> bytes:
    return encode({"object": "list", "data": [_described(model, created) for model in known]})


def model(known: ModelInfo, created: int) -> bytes:
    """One model."""
    return encode(_described(known, created))


def _described(known: ModelInfo, created: int) -> dict[str, Any]:
    return {"id": known.id, "object": "model", "created": created, "owned_by": known.owned_by}


def embeddings(embedded: Embedded, as_base64: bool) -> bytes:
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if as_base64 else vector}
        for index, vector in enumerate(embedded.vectors)
    ]
    used = {"prompt_tokens": embedded.usage.input_tokens, "total_tokens": embedded.usage.total_tokens}
    return encode({"object": "list", "data": data, "model": embedded.model, "usage": used})


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
