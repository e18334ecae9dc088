"""The body of `/v1/responses` into a request. Pure: what does not fit is an `InvalidRequest` that names the field."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.errors import InvalidRequest, UnsupportedParameter
from three_mode.messages import CacheHints, LLMRequest, Message, Reasoning, ResponseFormat
from three_mode.serve import wire_in
from three_mode.serve.ignored import NOTHING_SENT, Sent, sent
from three_mode.serve.surfaces.openai_responses.items import messages_of

_MEANT_HERE = ("metadata", "store", "prompt_cache_key")  # fields without effect on an answer that do something here
_DEFAULTS = {"service_tier": "auto", "parallel_tool_calls": True}
# Fields that would change the answer -> the values that say nothing new.
_CANNOT: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "prompt": (),
    "truncation": ("disabled",),
    "context_management": ([],),
    "moderation": (),
    "image": (),
    "n": (1,),
}
_HINTS = {
    "background": "stream=true",
    "prompt": "send its text as instructions",
    "truncation": "leave older items out of input",
    "n": "send the request n times",
}
_SAME = {"temperature": "temperature", "top_p": "top_p", "seed": "seed", "stop": "stop"}
_LOGPROBS, _SEALED = "message.output_text.logprobs", "reasoning.encrypted_content"
# What else may be included is of tools that the service runs itself, and of what the client sent.
_INCLUDABLE = (
    _LOGPROBS,
    _SEALED,
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "message.input_image.image_url",
)


class ResponseQuestion(Struct, frozen=True, kw_only=True):
    """What a client asked for: the request, and how it wants the answer."""

    request: LLMRequest
    stream: bool = False
    store: bool = True
    previous: str | None = None  # the response that it goes on from
    conversation: str | None = None  # the conversation that it goes on in
    instructions: str | None = None
    seal: bool = False  # thinking comes with what goes back to its provider verbatim
    echo: dict[str, Any] = {}  # fields that the answer repeats
    sent: Sent = NOTHING_SENT  # fields that change no answer


class _PlainResponse(Struct, forbid_unknown_fields=True, gc=False):
    """The body that most requests have."""

    model: str
    input: str


_decode_few = msgspec.json.Decoder(_PlainResponse).decode


def read_response(body: bytes, within: float, most_items: int) -> ResponseQuestion:
    """The body of a new response; `within` is the caller's deadline."""
    try:
        few = _decode_few(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _read_any(body, within, most_items)  # which says what does not fit, if anything
    said = (Message("user", few.input),)
    return ResponseQuestion(request=LLMRequest(messages=said, model=few.model, within=within))


def _read_any(body: bytes, within: float, most_items: int) -> ResponseQuestion:
    data = {name: value for name, value in wire_in.json_object(body).items() if value is not None}
    if not isinstance(data.get("model"), str):
        raise InvalidRequest("the request names no model", field="model", hint="GET /v1/models lists them")
    given = data.pop("input", None)
    if given is None:
        raise InvalidRequest("the request has no input", field="input", hint="a text, or a list of items")
    if isinstance(given, list) and len(given) > most_items:
        raise InvalidRequest(f"at most {most_items} items a request, not {len(given)}", field="input")
    if data.keys() <= _PLAIN:
        return _read_plain(data, given, within)
    for name in _CANNOT.keys() & data.keys():
        if data.pop(name) not in _CANNOT[name]:
            raise UnsupportedParameter(f"{name} cannot be done here", field=name, hint=_HINTS.get(name))
    echo = {name: data[name] for name in _ECHOED & data.keys()}
    unused = dict(sent(data, besides=_MEANT_HERE))
    for name in _DEFAULTS.keys() & unused.keys():
        if data[name] == _DEFAULTS[name]:
            del data[name]
    stream, store = _flag(data, "stream", False), _flag(data, "store", True)
    options = data.pop("stream_options", None)
    if options is not None and not isinstance(options, Mapping):
        raise InvalidRequest("stream_options is an object", field="stream_options")
    instructions, previous = _text(data, "instructions"), _text(data, "previous_response_id")
    conversation = _conversation(data.pop("conversation", None))
    if conversation is not None:
        echo["conversation"] = {"id": conversation}
    if previous is not None and conversation is not None:
        raise InvalidRequest("a response goes on from one of the two", field="conversation")
    fields: dict[str, Any] = {"within": within, "model": data.pop("model")}
    fields |= {ours: data.pop(theirs) for theirs, ours in _SAME.items() if theirs in data}
    if "max_output_tokens" in data:
        fields["max_tokens"] = data.pop("max_output_tokens")
    if "metadata" in data:
        fields["metadata"] = data.pop("metadata")
    key = _text(data, "prompt_cache_key")
    if key is not None:
        fields["cache"] = CacheHints(key=key)
    _read_tools(data, fields)
    text = data.pop("text", {})
    _read_text(text, fields)
    if text.get("verbosity") is not None:
        data["verbosity"] = unused["text.verbosity"] = text["verbosity"]
    _read_reasoning(data.pop("reasoning", {}), fields)
    included = _included(data)
    before = [Message("system", instructions)] if instructions else []
    fields["extra"] = data  # what has no meaning of its own here is the model's, which says where it knows it not
    return ResponseQuestion(
        request=LLMRequest(messages=[*before, *messages_of(given)], **fields),
        stream=stream,
        store=store,
        previous=previous,
        conversation=conversation,
        instructions=instructions,
        seal=_SEALED in included,
        echo=echo,
        sent=unused,
    )


def _read_plain(data: dict[str, Any], given: Any, within: float) -> ResponseQuestion:
    """The same for a body of a few fields that need no look at the others."""
    stream, store = _flag(data, "stream", False), _flag(data, "store", True)
    echo = dict(data)
    del echo["model"]
    instructions = _text(data, "instructions")
    said = messages_of(given)
    request = LLMRequest(
        messages=[Message("system", instructions), *said] if instructions else said,
        model=data["model"],
        within=within,
        max_tokens=data.get("max_output_tokens"),
        temperature=data.get("temperature"),
        top_p=data.get("top_p"),
    )
    return ResponseQuestion(request=request, stream=stream, store=store, instructions=instructions, echo=echo)


# Fields of most bodies, input aside: see `_read_plain`.
_PLAIN = {"model", "instructions", "max_output_tokens", "temperature", "top_p", "stream", "store"}
_ECHOED = {
    *("instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "previous_response_id", "reasoning"),
    *("safety_identifier", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "user"),
    *("prompt_cache_key", "service_tier", "conversation", "max_tool_calls"),
}


def _flag(data: dict[str, Any], name: str, default: bool) -> bool:
    found = data.pop(name, default)
    if not isinstance(found, bool):
        raise InvalidRequest(f"{name} is true or false", field=name)
    return found


def _text(data: dict[str, Any], name: str) -> str | None:
    found = data.pop(name, None)
    if found is not None and not isinstance(found, str):
        raise InvalidRequest(f"{name} is a text", field=name)
    return found


def _conversation(given: Any) -> str | None:
    name = given.get("id") if isinstance(given, Mapping) else given
    if given is not None and not isinstance(name, str):
        raise InvalidRequest("conversation is the id of one", field="conversation")
    return name


def _read_tools(data: dict[str, Any], fields: dict[str, Any]) -> None:
    given, choice = data.pop("tools", []), data.pop("tool_choice", None)
    if not isinstance(given, list):
        raise InvalidRequest("tools is a list", field="tools")
    tools = [_tool(tool, f"tools[{number}]") for number, tool in enumerate(given)]
    if isinstance(choice, Mapping):
        kind = choice.get("type")
        if kind == "allowed_tools":
            allowed = choice.get("tools")
            if allowed is not None and not isinstance(allowed, list):
                raise InvalidRequest("the allowed tools are a list", field="tool_choice.tools")
            names = [tool.get("name") for tool in allowed or () if isinstance(tool, Mapping)]
            tools = [tool for tool in tools if tool["name"] in names]
            choice = choice.get("mode")
        elif kind == "function" and isinstance(choice.get("name"), str):
            choice = choice["name"]
        else:
            raise UnsupportedParameter("tool_choice names no function", field="tool_choice")
    if tools:
        fields["tools"] = tools
    if choice is not None and (tools or choice != "auto"):
        fields["tool_choice"] = choice


def _tool(tool: Any, field: str) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    if kind != "function":
        raise UnsupportedParameter(
            f"no tool of the type {kind!r} runs here", field=f"{field}.type", hint="tools are of the type function"
        )
    if not isinstance(tool.get("name"), str):
        raise InvalidRequest("a function has a name", field=f"{field}.name")
    names = ("name", "description", "parameters", "strict")
    return {name: tool[name] for name in names if tool.get(name) is not None}


def _read_text(given: Any, fields: dict[str, Any]) -> None:
    if not isinstance(given, Mapping):
        raise InvalidRequest("text is an object", field="text")
    shape: Any = given.get("format") or {"type": "text"}
    kind = shape.get("type") if isinstance(shape, Mapping) else None
    if kind == "json_schema":
        if not isinstance(shape.get("schema"), Mapping):
            raise InvalidRequest("the format has no schema", field="text.format.schema")
        name, strict = shape.get("name") or "answer", shape.get("strict")
        if not isinstance(name, str):
            raise InvalidRequest("name is a text", field="text.format.name")
        fields["response_format"] = ResponseFormat(dict(shape["schema"]), name, strict is not False)
    elif kind == "json_object":
        fields["response_format"] = ResponseFormat()
    elif kind != "text":
        raise InvalidRequest(
            "text.format is text, json_schema or json_object", field="text.format", hint='{"format": {"type": "text"}}'
        )


def _read_reasoning(given: Any, fields: dict[str, Any]) -> None:
    effort = given.get("effort") if isinstance(given, Mapping) else given
    if effort is not None and not (isinstance(given, Mapping) and isinstance(effort, str)):
        raise InvalidRequest("reasoning is an object whose effort is a text", field="reasoning")
    if isinstance(effort, str):
        fields["reasoning"] = Reasoning(effort=effort)


def _included(data: dict[str, Any]) -> list[Any]:
    """What is to come with the answer. Scores of tokens are asked of the model as in a chat request."""
    given = data.pop("include", [])
    if not isinstance(given, list):
        raise InvalidRequest("include is a list", field="include")
    wrong = next((one for one in given if one not in _INCLUDABLE), None)
    if wrong is not None:
        raise UnsupportedParameter(f"{wrong!r} cannot be included", field="include")
    if not data.get("top_logprobs", True):
        del data["top_logprobs"]
    if _LOGPROBS in given or "top_logprobs" in data:
        data["logprobs"] = True
    return given
