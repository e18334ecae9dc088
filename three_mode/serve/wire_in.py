"""An OpenAI request body into ours. Pure: what does not fit is an `InvalidRequest` that names the field.

Fields that have no meaning of their own here go to the provider through `extra`; none is dropped in silence.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.errors import InvalidRequest
from three_mode.messages import CacheHints, EmbedRequest, LLMRequest, Message
from three_mode.serve.backend import CONVERSATION
from three_mode.serve.ignored import NOTHING_SENT, Sent, sent

# Each message costs microseconds to check, and a small body can hold very many.
MOST_MESSAGES = 10_000
MOST_ANSWERS = 8  # of one request
STREAMED = re.compile(rb'"stream"\s*:\s*true')  # a body that most likely asks for a stream
# Their name -> ours, for fields that mean the same.
_SAME = {
    "model": "model",
    "messages": "messages",
    "tools": "tools",
    "response_format": "response_format",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop",
    "seed": "seed",
    "metadata": "metadata",
    "reasoning_effort": "reasoning",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
}
# Fields whose default says nothing new.
_DEFAULTS: dict[str, Any] = {
    "stream": False,
    "logprobs": False,
    "response_format": {"type": "text"},
    "parallel_tool_calls": True,
    "logit_bias": {},
    "modalities": ["text"],
    "service_tier": "auto",
}


class ChatQuestion(Struct, frozen=True):
    """What a client asked for: the request, and how it wants the answer."""

    request: LLMRequest
    stream: bool = False
    include_usage: bool = False
    n: int = 1  # answers
    sent: Sent = NOTHING_SENT  # fields that change no answer


class _PlainChat(Struct, forbid_unknown_fields=True, gc=False):
    """The body that most requests have: messages that are ours as they came, and the plainest of options."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    max_tokens: int | None = None
    temperature: float | int | None = None


_decode_few = msgspec.json.Decoder(_PlainChat).decode


def read_chat(body: bytes, within: float, most_messages: int = MOST_MESSAGES) -> ChatQuestion:
    """The body of `/v1/chat/completions`; `within` is the caller's deadline."""
    try:
        few = _decode_few(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _read_any(body, within, most_messages)  # which says what does not fit, if anything
    if len(few.messages) > most_messages:
        return _read_any(body, within, most_messages)
    return ChatQuestion(
        LLMRequest(
            messages=few.messages,
            model=few.model,
            within=within,
            max_tokens=few.max_tokens,
            temperature=few.temperature,
        ),
        few.stream,
    )


def _read_any(body: bytes, within: float, most_messages: int) -> ChatQuestion:
    data = json_object(body)
    given = data.get("messages")
    if isinstance(given, list) and len(given) > most_messages:
        raise InvalidRequest(f"at most {most_messages} messages a request, not {len(given)}", field="messages")
    n = _answers(data.pop("n", None), data)
    stream = data.pop("stream", None) or False
    if not isinstance(stream, bool):
        raise InvalidRequest("stream is true or false", field="stream")
    options = data.pop("stream_options", None) or {}
    if not isinstance(options, Mapping):
        raise InvalidRequest("stream_options is an object", field="stream_options")
    fields: dict[str, Any] = {"within": within}
    others: dict[str, Any] = {}
    for theirs, value in data.items():
        ours = _SAME.get(theirs)
        if ours is None:
            others[theirs] = value
        # Two names for one limit: the newer one counts, whichever comes first.
        elif (
            value is not None
            and _DEFAULTS.get(theirs, data) != value
            and (theirs != "max_tokens" or "max_tokens" not in fields)
        ):
            fields[ours] = value
    if not isinstance(fields.get("model"), str):
        raise InvalidRequest("the request names no model", field="model", hint="GET /v1/models lists them")
    if "messages" not in fields:
        raise InvalidRequest("the request has no messages", field="messages")
    if others:
        choice = others.pop("tool_choice", None)
        if choice is not None:
            fields["tool_choice"] = _tool_choice(choice)
        key = others.pop("prompt_cache_key", None)
        if key is not None:
            fields["cache"] = CacheHints(key=str(key))
        fields["extra"] = _said(others)
    return ChatQuestion(LLMRequest(**fields), stream, bool(options.get("include_usage")), n, sent(data))


def _answers(given: Any, data: Mapping[str, Any]) -> int:
    """How many answers are asked for."""
    n = 1 if given is None else given
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_ANSWERS:
        raise InvalidRequest(f"n is a number of answers, 1 to {MOST_ANSWERS}", field="n")
    if n > 1 and data.get(CONVERSATION) is not None:
        raise InvalidRequest("a conversation goes on with one answer", field="n")
    return n


def read_embeddings(body: bytes, within: float) -> tuple[EmbedRequest, bool]:
    """The body of `/v1/embeddings`: a text or several, each as a string or as tokens of the model, and whether the
    vectors are wanted in base64."""
    data = json_object(body)
    model, given = data.pop("model", None), data.pop("input", None)
    if not isinstance(model, str) or not model:
        raise InvalidRequest("the request names no model", field="model", hint="GET /v1/models lists them")
    encoding = data.pop("encoding_format", None) or "float"
    if encoding not in ("float", "base64"):
        raise InvalidRequest("encoding_format is float or base64", field="encoding_format")
    dimensions = data.pop("dimensions", None)
    extra = {name: value for name, value in data.items() if value is not None}
    try:
        asked = EmbedRequest.of(given, model=model, dimensions=dimensions, within=within, extra=extra)
    except InvalidRequest as error:
        if error.field not in ("texts", "tokens"):
            raise
        raise InvalidRequest("input is a text, tokens, or a list of those that is not empty", field="input") from None
    return asked, encoding == "base64"


def json_object(body: bytes) -> dict[str, Any]:
    """The fields of a body."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidRequest("the body is not a JSON object")
    return data


def _said(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is left and says something: neither null nor a default."""
    return {name: value for name, value in data.items() if value is not None and _DEFAULTS.get(name, data) != value}


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, Mapping):
        function = choice.get("function")
        if choice.get("type") == "function" and isinstance(function, Mapping) and isinstance(function.get("name"), str):
            return function["name"]
        raise InvalidRequest("tool_choice names no function", field="tool_choice")
    return choice
