"""Codec of Ollama's chat API: lines of JSON, arguments as objects, calls without ids."""

from typing import Any, Final

import msgspec

from three_mode.errors import LLMError, NotFound, ServerError, UnsupportedParameter
from three_mode.messages import (
    Chunk,
    Finish,
    FinishReason,
    Folding,
    Image,
    LLMRequest,
    LLMResponse,
    Message,
    Start,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolResult,
    Usage,
    UsageUpdate,
)
from three_mode.providers.codec import Codec, Header, Headers, LimitReading, Outgoing
from three_mode.providers.openai_request import tool as openai_tool
from three_mode.providers.pieces import (
    JSON_HEADERS,
    called_names,
    count_of,
    encode_json,
    gathered,
    inline_data,
    merged,
    own_thinking,
    reading,
    refuse,
    result_text,
    text_of,
)
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply, loads, plain_words, refusal
from three_mode.providers.schema import rooted
from three_mode.providers.stream import LineDecoder

Body = dict[str, Any]
FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "load": "stop",
    "unload": "stop",
}
_TOP = frozenset(
    (
        "model",
        "created_at",
        "message",
        "done",
        "done_reason",
        "prompt_eval_count",
        "eval_count",
        "error",
        "total_duration",
        "load_duration",
        "prompt_eval_duration",
        "eval_duration",
    )
)
_TIMES = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
_MESSAGE = frozenset(("role", "content", "thinking", "tool_calls", "images", "tool_name"))


class OllamaCodec(Codec):
    """Codec of Ollama: `POST {base}/api/chat`; no key by default."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def encode(self, request: LLMRequest, model: str, *, stream: bool) -> Outgoing:
        body, more = merged(chat_body(request, model, self.profile, stream), request, self.profile)
        return Outgoing("POST", "/api/chat", encode_json(body), JSON_HEADERS + more)

    def decode(self, body: bytes) -> LLMResponse:
        return reading(self.profile, self._read, body)

    def _read(self, reply: Any) -> LLMResponse:
        lines, out = OllamaDecoder(self.profile), list[Chunk]()
        lines.read(msgspec.json.encode(reply), out)
        if lines.error is not None:
            raise lines.error
        if not lines.done:
            raise bad_reply(self.profile, "the reply is not done")
        folding = Folding()
        for chunk in out:
            folding.add(chunk)
        return folding.response()

    def decoder(self) -> "OllamaDecoder":
        return OllamaDecoder(self.profile)

    def error(self, status: int, headers: Headers, body: bytes) -> LLMError:
        reply = loads(body)
        message = reply.get("error") if isinstance(reply, dict) else None
        return _failed(self.profile, status, str(message) if message else plain_words(body), headers)

    def limits(self, headers: Headers) -> LimitReading | None:
        return None

    def authorization(self, api_key: str | None) -> tuple[Header, ...]:
        return ((b"authorization", b"Bearer " + api_key.encode()),) if api_key else ()

    def encode_models(self) -> Outgoing:
        return Outgoing("GET", "/api/tags", headers=JSON_HEADERS[1:])

    def decode_models(self, body: bytes) -> tuple[str, ...]:
        return reading(
            self.profile,
            lambda reply: tuple(str(each["name"]) for each in reply["models"]),
            body,
            "list of models",
        )


def _failed(profile: Profile, status: int, message: str, headers: Headers = ()) -> LLMError:
    kind: type[LLMError] | None = None
    if "does not support" in message:
        kind = UnsupportedParameter
    elif "not found" in message:
        kind = NotFound
    elif not status:
        kind = ServerError
    return refusal(profile, status, headers, message, kind=kind)


def chat_body(request: LLMRequest, model: str, profile: Profile, stream: bool) -> Body:
    """Body of a request."""
    body: Body = {"model": model, "messages": messages(request, profile), "stream": stream}
    if request.tools and request.tool_choice != "none":
        if request.tool_choice not in (None, "auto"):
            raise refuse(profile, "tool_choice", "cannot be forced to call a tool", "leave tool_choice out")
        body["tools"] = [openai_tool(each) for each in request.tools]
    options: Body = {}
    if request.temperature is not None:
        options["temperature"] = request.temperature
    if request.top_p is not None:
        options["top_p"] = request.top_p
    if request.max_tokens is not None:
        options["num_predict"] = request.max_tokens
    if request.stop:
        options["stop"] = list(request.stop)
    if request.seed is not None:
        options["seed"] = request.seed
    if options:
        body["options"] = options
    if request.response_format is not None:
        schema = request.response_format.json_schema
        body["format"] = "json" if schema is None else rooted(schema)
    if request.reasoning is not None:
        asked = request.reasoning
        if asked.budget_tokens:
            raise refuse(profile, "reasoning.budget_tokens", "has no thinking budget", 'use reasoning="low"...')
        off = asked.effort == "none" or asked.budget_tokens == 0
        body["think"] = False if off else asked.effort if asked.effort in ("low", "medium", "high") else True
    return body


def messages(request: LLMRequest, profile: Profile) -> list[Body]:
    """Messages in Ollama's form."""
    names = called_names(request)
    found: list[Body] = []
    for message in request.messages:
        # There is no field for a name.
        prefix = f"{message.name}: " if message.name and message.role == "user" else ""
        if isinstance(message.content, str):
            found.append({"role": message.role, "content": prefix + message.content})
        else:
            found.extend(_message(message, prefix, names, profile))
    return found


def _message(message: Message, prefix: str, names: dict[str, str], profile: Profile) -> list[Body]:
    results: list[Body] = []
    plain: Body = {"role": message.role, "content": prefix}
    for part in message.parts:
        if isinstance(part, Text):
            plain["content"] += part.text
        elif isinstance(part, Image):
            inline = inline_data(part)
            if inline is None:
                raise refuse(profile, "messages", "cannot fetch the URL of an image", "use Image.from_file(path)")
            plain.setdefault("images", []).append(inline[1])
        elif isinstance(part, ToolCall):
            if part.raw is not None:
                raise refuse(
                    profile,
                    "messages",
                    f"takes only JSON as the arguments of {part.name!r}",
                    "drop that call",
                )
            plain.setdefault("tool_calls", []).append({"function": {"name": part.name, "arguments": part.arguments}})
        elif isinstance(part, Thinking):
            if own_thinking(part, profile):
                plain["thinking"] = plain.get("thinking", "") + part.text
        elif isinstance(part, ToolResult):
            result: Body = {"role": "tool", "content": result_text(part, profile)}
            name = part.name or names.get(part.call_id)
            if name:
                result["tool_name"] = name
            results.append(result)
    if not plain["content"]:
        del plain["content"]
    return results + ([plain] if len(plain) > 1 else [])


class OllamaDecoder(LineDecoder):
    """Decodes one JSON value a line; the last one has `done`. Calls come whole, and get an id here."""

    __slots__ = ("_calls", "_extra", "_started")

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._started = False
        self._calls = 0
        self._extra: dict[str, Any] = {}

    def read(self, unit: bytes, out: list[Chunk]) -> None:
        """Adds the chunks of one line."""
        value = msgspec.json.decode(unit)
        if value.get("error"):
            self.error = _failed(self.profile, 0, str(value["error"]))
            return
        if not self._started:
            self._started = True
            out.append(Start(text_of(value.get("model")), self.profile.name))
        self._add_message(value.get("message") or {}, out)
        if not value.keys() <= _TOP:
            gathered(self._extra, {key: value[key] for key in value.keys() - _TOP})
        if value.get("done"):
            gathered(self._extra, {key: value[key] for key in _TIMES if key in value})
            reason = FINISH.get(value.get("done_reason") or "stop", "unknown")
            out.append(UsageUpdate(Usage(count_of(value.get("prompt_eval_count")), count_of(value.get("eval_count")))))
            out.append(Finish("tool_calls" if self._calls and reason == "stop" else reason, extra=self._extra))
            self.done = True

    def _add_message(self, message: dict[str, Any], out: list[Chunk]) -> None:
        if message.get("thinking"):
            out.append(ThinkingDelta(text_of(message["thinking"]), provider=self.profile.name))
        if message.get("content"):
            out.append(TextDelta(text_of(message["content"]), 0))
        for call in message.get("tool_calls") or ():
            function = call["function"]
            arguments = function.get("arguments")
            if not isinstance(arguments, dict):
                raise TypeError("the arguments of a call are an object")
            identity = text_of(call.get("id")) or f"call_made_{self._calls + 1}"
            out.append(ToolDelta(self._calls, identity, text_of(function["name"]), encode_json(arguments).decode()))
            self._calls += 1
        if not message.keys() <= _MESSAGE:
            gathered(self._extra, {key: message[key] for key in message.keys() - _MESSAGE})
