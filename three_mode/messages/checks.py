"""Checks and conversions of the fields of a request. A wrong value is an `InvalidRequest` that names the field.

A constructor takes plain forms: lists, dicts, a word for a struct. A request holds tuples and structs only, so that a
request that is sent, cached, recorded or compared has one form.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from three_mode.errors import InvalidRequest
from three_mode.messages.message import Message
from three_mode.messages.options import CacheHints, Option, Reasoning, ResponseFormat, Tool
from three_mode.messages.plain import converted, message_from
from three_mode.modes import CommunicationMode

OPTIONS: dict[str, type[Option]] = {
    "response_format": ResponseFormat,
    "reasoning": Reasoning,
    "cache": CacheHints,
}


def no_request(given: object, method: str) -> InvalidRequest:
    """Error for a call of a connection that was given something else than a request."""
    return InvalidRequest(
        f"{method} takes an LLMRequest, not {type(given).__name__}",
        field="request",
        hint='LLMRequest(messages=[{"role": "user", "content": "Hello!"}]), or `await llm.ask("Hello!")` for the text',
    )


MOST_TOKEN = 1 << 31  # what an engine's token fits in
MESSAGES = {Message}  # types of the items of a tuple that needs no conversion


def messages(value: Any) -> tuple[Message, ...]:
    """Converts a list of messages, each a `Message` or a dict, to a tuple."""
    if type(value) is not list and (isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence)):
        raise InvalidRequest(
            f"messages is a list, not {type(value).__name__}",
            field="messages",
            hint='for example [{"role": "user", "content": "Hello!"}]',
        )
    if not value:
        raise InvalidRequest("the request has no messages", field="messages")
    return tuple([message_from(message, f"messages[{index}]") for index, message in enumerate(value)])


def take_prompt(request: Any) -> None:
    """Checks the prompt of a request, and gives it the message that stands for it."""
    prompt = request.prompt
    said: tuple[Message, ...] = ()
    if isinstance(prompt, str):
        said = (Message("user", prompt),)
    else:
        force_setattr(request, "prompt", token_ids(prompt, "prompt"))
    given = request.messages
    if given != () and (type(given) is not tuple or given != said):
        raise InvalidRequest("`prompt` stands in place of `messages`", field="messages", hint="give one of the two")
    if request.tools != ():
        raise InvalidRequest("tools need messages, and not a bare prompt", field="tools")
    force_setattr(request, "messages", said)


def token_ids(value: Any, field: str) -> tuple[int, ...]:
    """Converts a list of tokens to a tuple."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence) or not value:
        raise InvalidRequest(f"{field} is a text, or a list of tokens that is not empty", field=field)
    if not all(type(token) is int and 0 <= token < MOST_TOKEN for token in value):
        raise InvalidRequest("tokens are whole numbers, 0 or more", field=field)
    return tuple(value)


def tools(value: Any) -> tuple[Tool, ...]:
    """Converts a list of tools, each a `Tool` or a dict, to a tuple."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise InvalidRequest(f"tools is a list, not {type(value).__name__}", field="tools")
    return tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(value))


def stop(value: Any) -> tuple[str, ...]:
    """Converts one stop sequence, or several, to a tuple."""
    if not isinstance(value, str | Sequence):
        raise InvalidRequest(f"stop is a string or a list of them, not {type(value).__name__}", field="stop")
    words: tuple[Any, ...] = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(word, str) and word for word in words):
        raise InvalidRequest("a stop sequence is a string that is not empty", field="stop")
    return words


def _tool(value: Any, field: str) -> Tool:
    """Converts our own shape of a tool, or OpenAI's `{"type": "function", "function": {...}}`."""
    if isinstance(value, Mapping) and "function" in value:
        value, field = value["function"], f"{field}.function"
    tool: Tool = value if isinstance(value, Tool) else converted(value, Tool, field)
    name: Any = tool.name  # the constructor of Tool checks nothing
    if not isinstance(name, str) or not name:
        raise InvalidRequest("a tool needs a name", field=f"{field}.name")
    return tool


def model(value: Any) -> None:
    """Checks the name of a model."""
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise InvalidRequest("the model is a name", field="model")


def provider(value: Any) -> None:
    """Checks the name of a provider."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest("the provider is a name", field="provider", hint="for example 'anthropic'")


def mode(value: Any) -> CommunicationMode:
    """Converts the name of a mode to the mode."""
    try:
        return CommunicationMode(value)
    except ValueError:
        names = ", ".join(kind.name for kind in CommunicationMode)
        raise InvalidRequest(f"unknown mode {value!r}", field="mode", hint=f"CommunicationMode: {names}") from None


def option(value: Any, name: str) -> Option:
    """Converts the option `name` from its struct, its dict, or the word that stands for it."""
    kind = OPTIONS[name]
    if isinstance(value, kind):
        return value
    if name == "response_format":
        if value in ("json", "json_object"):
            return ResponseFormat()
        if isinstance(value, type) or hasattr(value, "__origin__"):
            return ResponseFormat.of(value)
        if isinstance(value, Mapping) and value.get("type") == "json_object":
            return ResponseFormat()
        if isinstance(value, Mapping) and value.get("type") == "json_schema":  # OpenAI's shape
            shape = value.get("json_schema")
            if shape is not None and not isinstance(shape, Mapping):
                raise InvalidRequest("json_schema is an object", field="response_format.json_schema")
            value = dict(shape or {})
            value["json_schema"] = value.pop("schema", None)
            value.pop("description", None)
    if name == "reasoning" and isinstance(value, str):
        return Reasoning(effort=value)
    found: Option = converted(value, kind, name)
    return found


def check_numbers(request: object) -> None:
    """Checks `temperature`, `top_p`, `max_tokens` and `seed`."""
    check_number(request, "temperature", 0.0)
    check_number(request, "top_p", 0.0, 1.0)
    check_count(request, "max_tokens", 1)
    check_count(request, "seed", None)


def check_within(request: object) -> None:
    """Checks that `within` is a number above 0."""
    check_number(request, "within", 0.0)


def check_number(request: object, name: str, low: float, high: float = math.inf) -> None:
    """Checks that a field is None or a finite number between `low` and `high`."""
    value = getattr(request, name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidRequest(f"{name} is a finite number, not {value!r}", field=name)
    if not low <= value <= high or (name == "within" and value == 0):
        bounds = "above 0" if name == "within" else "at least 0" if high == math.inf else "between 0 and 1"
        raise InvalidRequest(f"{name} is {bounds}, not {value!r}", field=name)


def check_count(request: object, name: str, least: int | None) -> None:
    """Checks that a field is None or a whole number of at least `least`."""
    value = getattr(request, name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{name} is a whole number, not {value!r}", field=name)
    if least is not None and value < least:
        raise InvalidRequest(f"{name} is at least {least}, not {value}", field=name)


def check_tool_choice(choice: object, tools: tuple[Tool, ...]) -> None:
    """Checks that the choice is a known word or the name of a tool."""
    if choice is None or choice == "none":
        return
    if not isinstance(choice, str):
        raise InvalidRequest(
            f"tool_choice is auto, none, required or a tool's name, not {type(choice).__name__}",
            field="tool_choice",
        )
    names = [tool.name for tool in tools]
    if not names:
        raise InvalidRequest("tool_choice without tools", field="tool_choice", hint="give tools=, or leave it out")
    if choice not in ("auto", "required") and choice not in names:
        raise InvalidRequest(
            f"tool_choice names {choice!r}, which is not among the tools",
            field="tool_choice",
            hint=f"auto, none, required, {', '.join(names)}",
        )


def check_json(value: Any, field: str) -> None:
    """Checks that a field is a dict that JSON can hold."""
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"{field} is a dict, not {type(value).__name__}", field=field)
    if not value:
        return
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidRequest(f"{field} holds what JSON cannot: {error}", field=field) from None
