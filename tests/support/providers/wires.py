"""Four answers in each wire format, whole and streamed, as the providers send them."""

import json
from dataclasses import dataclass, field
from typing import Any

from three_mode.messages import Part, Text, Thinking, ToolCall, Usage
from three_mode.providers import Codec, codec_of, profile_of

Body = dict[str, Any]


def sse(*events: Body | str, name: bool = False) -> bytes:
    out = b""
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        if name and isinstance(event, dict):
            out += b"event: " + event["type"].encode() + b"\n"
        out += b"data: " + data.encode() + b"\n\n"
    return out


def lines(*values: Body) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


@dataclass(frozen=True)
class Case:
    """Bytes of a provider, and the values that they mean."""

    whole: bytes
    streamed: bytes
    parts: tuple[Part, ...]
    usage: Usage
    reason: str = "stop"


@dataclass(frozen=True)
class Wire:
    """Wire format of one provider."""

    provider: str
    cases: dict[str, Case]
    refusals: dict[str, tuple[int, Body]]
    error_inside: bytes  # a stream that begins well and then says that it failed
    cut: bytes  # a stream that ends in the middle
    keep_alive: bytes  # what comes while the model has nothing to say
    headers: dict[str, tuple[tuple[bytes, bytes], ...]] = field(default_factory=dict)

    @property
    def codec(self) -> Codec:
        return codec_of(profile_of(self.provider))


SAID = "Grüße, 世界 \u2028!"
ARGS = {"city": "Zürich", "days": 2}
TWO = ({"city": "Paris"}, {"city": "Oslo"})


# --- OpenAI -----------------------------------------------------------------------------------------------------------
def _openai(message: Body, usage: Body, reason: str) -> bytes:
    return json.dumps(
        {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o",
            "choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", **message}}],
            "usage": usage,
        }
    ).encode()


def _chunk(delta: Body | None = None, reason: str | None = None, usage: Body | None = None) -> Body:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    return {**head, "choices": choices, **({"usage": usage} if usage else {})}


def _call(index: int, args: Body, identity: str) -> Body:
    function = {"name": "weather", "arguments": json.dumps(args)}
    return {"index": index, "id": identity, "type": "function", "function": function}


def _pieces(index: int, args: Body, identity: str) -> list[Body]:
    text = json.dumps(args)
    head = {
        "index": index,
        "id": identity,
        "type": "function",
        "function": {"name": "weather", "arguments": ""},
    }
    rest = [{"index": index, "function": {"arguments": text[i : i + 5]}} for i in range(0, len(text), 5)]
    return [_chunk({"tool_calls": [piece]}) for piece in (head, *rest)]


_USED = {
    "prompt_tokens": 12,
    "completion_tokens": 7,
    "total_tokens": 19,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
_COUNTED = Usage(12, 7, 4, 0, 3)
_ROLE = _chunk({"role": "assistant", "content": ""})
OPENAI = Wire(
    "openai",
    {
        "plain": Case(
            _openai({"content": SAID}, _USED, "stop"),
            sse(
                _ROLE,
                *(_chunk({"content": letter}) for letter in SAID),
                _chunk({}, "stop"),
                _chunk(usage=_USED),
                "[DONE]",
            ),
            (Text(SAID),),
            _COUNTED,
        ),
        "tool": Case(
            _openai({"content": None, "tool_calls": [_call(0, ARGS, "call_a")]}, _USED, "tool_calls"),
            sse(_ROLE, *_pieces(0, ARGS, "call_a"), _chunk({}, "tool_calls"), _chunk(usage=_USED), "[DONE]"),
            (ToolCall("call_a", "weather", ARGS),),
            _COUNTED,
            "tool_calls",
        ),
        "parallel tools": Case(
            _openai(
                {"content": None, "tool_calls": [_call(0, TWO[0], "a"), _call(1, TWO[1], "b")]}, _USED, "tool_calls"
            ),
            sse(
                _ROLE,
                *(p for pair in zip(_pieces(0, TWO[0], "a"), _pieces(1, TWO[1], "b"), strict=False) for p in pair),
                *_pieces(0, TWO[0], "a")[len(_pieces(1, TWO[1], "b")) :],
                _chunk({}, "tool_calls"),
                _chunk(usage=_USED),
                "[DONE]",
            ),
            (ToolCall("a", "weather", TWO[0]), ToolCall("b", "weather", TWO[1])),
            _COUNTED,
            "tool_calls",
        ),
        "thinking": Case(
            _openai({"content": "4", "reasoning_content": "2 and 2"}, _USED, "stop"),
            sse(
                _ROLE,
                _chunk({"reasoning_content": "2 and"}),
                _chunk({"reasoning_content": " 2"}),
                _chunk({"content": "4"}),
                _chunk({}, "stop"),
                _chunk(usage=_USED),
                "[DONE]",
            ),
            (Thinking("2 and 2", provider="openai"), Text("4")),
            _COUNTED,
        ),
    },
    {
        "auth": (
            401,
            {
                "error": {
                    "message": "Incorrect API key provided",
                    "type": "invalid_request_error",
                    "code": "invalid_api_key",
                }
            },
        ),
        "rate": (429, {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}),
        "quota": (
            429,
            {
                "error": {
                    "message": "You exceeded your current quota",
                    "type": "insufficient_quota",
                    "code": "insufficient_quota",
                }
            },
        ),
        "context": (
            400,
            {
                "error": {
                    "message": "This model's maximum context length is 8192 tokens",
                    "type": "invalid_request_error",
                    "code": "context_length_exceeded",
                }
            },
        ),
        "missing": (
            404,
            {
                "error": {
                    "message": "The model `x` does not exist",
                    "type": "invalid_request_error",
                    "code": "model_not_found",
                }
            },
        ),
        "overloaded": (
            503,
            {"error": {"message": "The engine is currently overloaded", "type": "server_error", "code": None}},
        ),
        "server": (500, {"error": {"message": "The server had an error", "type": "server_error", "code": None}}),
        "bad": (
            400,
            {
                "error": {
                    "message": "Unknown field",
                    "type": "invalid_request_error",
                    "param": "temperature",
                    "code": None,
                }
            },
        ),
    },
    sse(_ROLE, _chunk({"content": "Hel"}), {"error": {"message": "The server had an error", "type": "server_error"}}),
    sse(_ROLE, _chunk({"content": "Hel"})),
    b": keep-alive\n\n",
)


# --- Anthropic --------------------------------------------------------------------------------------------------------
def _message(content: list[Body], reason: str) -> bytes:
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 5,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 3,
                "output_tokens": 7,
            },
        }
    ).encode()


def _messages(blocks: list[tuple[Body, list[Body]]], reason: str) -> bytes:
    head = {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 5,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 3,
                "output_tokens": 1,
            },
        },
    }
    events: list[Body] = [head, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    if reason:
        events.append(
            {
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": None},
                "usage": {"output_tokens": 7},
            }
        )
        events.append({"type": "message_stop"})
    return sse(*events, name=True)


def _text(text: str) -> tuple[Body, list[Body]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": letter} for letter in text]


def _use(identity: str, args: Body) -> tuple[Body, list[Body]]:
    text = json.dumps(args)
    pieces = [{"type": "input_json_delta", "partial_json": ""}]
    pieces += [{"type": "input_json_delta", "partial_json": text[i : i + 5]} for i in range(0, len(text), 5)]
    return {"type": "tool_use", "id": identity, "name": "weather", "input": {}}, pieces


def _used(identity: str, args: Body) -> Body:
    return {"type": "tool_use", "id": identity, "name": "weather", "input": args}


_A_COUNTED = Usage(12, 7, 4, 3, 0)
ANTHROPIC = Wire(
    "anthropic",
    {
        "plain": Case(
            _message([{"type": "text", "text": SAID}], "end_turn"),
            _messages([_text(SAID)], "end_turn"),
            (Text(SAID),),
            _A_COUNTED,
        ),
        "tool": Case(
            _message([_used("a", ARGS)], "tool_use"),
            _messages([_use("a", ARGS)], "tool_use"),
            (ToolCall("a", "weather", ARGS),),
            _A_COUNTED,
            "tool_calls",
        ),
        "parallel tools": Case(
            _message([{"type": "text", "text": "Both."}, _used("a", TWO[0]), _used("b", TWO[1])], "tool_use"),
            _messages([_text("Both."), _use("a", TWO[0]), _use("b", TWO[1])], "tool_use"),
            (Text("Both."), ToolCall("a", "weather", TWO[0]), ToolCall("b", "weather", TWO[1])),
            _A_COUNTED,
            "tool_calls",
        ),
        "thinking": Case(
            _message(
                [
                    {"type": "thinking", "thinking": "2 and 2", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "b3BhcXVl"},
                    {"type": "text", "text": "4"},
                ],
                "end_turn",
            ),
            _messages(
                [
                    (
                        {"type": "thinking", "thinking": "", "signature": ""},
                        [
                            {"type": "thinking_delta", "thinking": "2 and"},
                            {"type": "thinking_delta", "thinking": " 2"},
                            {"type": "signature_delta", "signature": "c2ln"},
                        ],
                    ),
                    ({"type": "redacted_thinking", "data": "b3BhcXVl"}, []),
                    _text("4"),
                ],
                "end_turn",
            ),
            (
                Thinking("2 and 2", "c2ln", provider="anthropic"),
                Thinking(redacted="b3BhcXVl", provider="anthropic"),
                Text("4"),
            ),
            _A_COUNTED,
        ),
    },
    {
        "auth": (401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}),
        "rate": (
            429,
            {"type": "error", "error": {"type": "rate_limit_error", "message": "Number of requests has exceeded"}},
        ),
        "quota": (
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}},
        ),
        "context": (
            400,
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "prompt is too long: 210000 tokens > 200000 maximum",
                },
            },
        ),
        "missing": (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}),
        "overloaded": (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        "server": (500, {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}),
        "bad": (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "temperature: range"}}),
    },
    _messages([_text("Hel")], "")
    + sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, name=True),
    _messages([_text("Hel")], ""),
    sse({"type": "ping"}, name=True),
)


# --- Gemini -----------------------------------------------------------------------------------------------------------
def _generated(parts: list[Body], reason: str | None = "STOP", usage: bool = True) -> Body:
    candidate: Body = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    counted = {
        "promptTokenCount": 12,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 3,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 19,
    }
    return {
        "candidates": [candidate],
        **({"usageMetadata": counted} if usage else {}),
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r1",
    }


def _function(args: Body, identity: str | None = None, signature: str | None = None) -> Body:
    call: Body = {"name": "weather", "args": args}
    if identity:
        call["id"] = identity
    return {"functionCall": call, **({"thoughtSignature": signature} if signature else {})}


def _gemini(*pieces: list[Body]) -> bytes:
    last = len(pieces) - 1
    return sse(*(_generated(parts, "STOP" if i == last else None, i == last) for i, parts in enumerate(pieces)))


_G_THOUGHT = {"text": "2 and 2", "thought": True}
GEMINI = Wire(
    "gemini",
    {
        "plain": Case(
            json.dumps(_generated([{"text": SAID}])).encode(),
            _gemini(*([{"text": letter}] for letter in SAID)),
            (Text(SAID),),
            _COUNTED,
        ),
        "tool": Case(
            json.dumps(_generated([_function(ARGS, "f1", "c2ln")])).encode(),
            _gemini([_function(ARGS, "f1", "c2ln")]),
            (ToolCall("f1", "weather", ARGS, signature="c2ln"),),
            _COUNTED,
            "tool_calls",
        ),
        "parallel tools": Case(
            json.dumps(_generated([_function(TWO[0]), _function(TWO[1])])).encode(),
            _gemini([_function(TWO[0])], [_function(TWO[1])]),
            (ToolCall("call_made_1", "weather", TWO[0]), ToolCall("call_made_2", "weather", TWO[1])),
            _COUNTED,
            "tool_calls",
        ),
        "thinking": Case(
            json.dumps(_generated([_G_THOUGHT, {"text": "4", "thoughtSignature": "c2ln"}])).encode(),
            _gemini(
                [{"text": "2 and", "thought": True}],
                [{"text": " 2", "thought": True}],
                [{"text": "4", "thoughtSignature": "c2ln"}],
            ),
            (Thinking("2 and 2", provider="gemini"), Text("4"), Thinking(signature="c2ln", provider="gemini")),
            _COUNTED,
        ),
    },
    {
        "auth": (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid",
                    "status": "INVALID_ARGUMENT",
                    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
                }
            },
        ),
        "rate": (
            429,
            {
                "error": {
                    "code": 429,
                    "message": "Resource has been exhausted",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}],
                }
            },
        ),
        "context": (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (1200000) exceeds the maximum number of tokens allowed "
                    "(1048576).",
                    "status": "INVALID_ARGUMENT",
                }
            },
        ),
        "missing": (404, {"error": {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}}),
        "overloaded": (503, {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}),
        "server": (500, {"error": {"code": 500, "message": "An internal error has occurred", "status": "INTERNAL"}}),
        "bad": (400, {"error": {"code": 400, "message": "Unknown name", "status": "INVALID_ARGUMENT"}}),
    },
    _gemini([{"text": "Hel"}], []).split(b"\n\n")[0]
    + b"\n\n"
    + sse({"error": {"code": 500, "message": "An internal error", "status": "INTERNAL"}}),
    sse(_generated([{"text": "Hel"}], None, False)),
    b": keep-alive\n\n",
)


# --- Ollama -----------------------------------------------------------------------------------------------------------
def _ollama(message: Body | None = None, done: bool = False) -> Body:
    end = {"done_reason": "stop", "total_duration": 9, "prompt_eval_count": 12, "eval_count": 7} if done else {}
    said = {"role": "assistant", "content": "", **(message or {})}
    return {"model": "qwen3", "created_at": "2026-01-01T00:00:00Z", "message": said, "done": done, **end}


def _asks(args: Body) -> Body:
    return {"function": {"name": "weather", "arguments": args}}


_O_COUNTED = Usage(12, 7)
OLLAMA = Wire(
    "ollama",
    {
        "plain": Case(
            lines(_ollama({"content": SAID}, True)),
            lines(*(_ollama({"content": letter}) for letter in SAID), _ollama(done=True)),
            (Text(SAID),),
            _O_COUNTED,
        ),
        "tool": Case(
            lines(_ollama({"tool_calls": [_asks(ARGS)]}, True)),
            lines(_ollama({"tool_calls": [_asks(ARGS)]}), _ollama(done=True)),
            (ToolCall("call_made_1", "weather", ARGS),),
            _O_COUNTED,
            "tool_calls",
        ),
        "parallel tools": Case(
            lines(_ollama({"tool_calls": [_asks(TWO[0]), _asks(TWO[1])]}, True)),
            lines(
                _ollama({"tool_calls": [_asks(TWO[0])]}), _ollama({"tool_calls": [_asks(TWO[1])]}), _ollama(done=True)
            ),
            (ToolCall("call_made_1", "weather", TWO[0]), ToolCall("call_made_2", "weather", TWO[1])),
            _O_COUNTED,
            "tool_calls",
        ),
        "thinking": Case(
            lines(_ollama({"thinking": "2 and 2", "content": "4"}, True)),
            lines(
                _ollama({"thinking": "2 and"}),
                _ollama({"thinking": " 2"}),
                _ollama({"content": "4"}),
                _ollama(done=True),
            ),
            (Thinking("2 and 2", provider="ollama"), Text("4")),
            _O_COUNTED,
        ),
    },
    {
        "auth": (401, {"error": "unauthorized"}),
        "missing": (404, {"error": "model 'x' not found"}),
        "server": (500, {"error": "llama runner process has terminated"}),
        "bad": (400, {"error": "invalid options"}),
        "unsupported": (400, {"error": "registry.ollama.ai/library/x does not support tools"}),
        "overloaded": (503, {"error": "server busy, please try again"}),
    },
    lines(_ollama({"content": "Hel"}), {"error": "an error was encountered while running the model"}),
    lines(_ollama({"content": "Hel"})),
    b"\n",
)

WIRES = {wire.provider: wire for wire in (OPENAI, ANTHROPIC, GEMINI, OLLAMA)}
