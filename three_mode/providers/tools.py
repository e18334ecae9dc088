"""Tools from typed Python functions: the JSON Schema from type hints, the descriptions from the docstring.

def weather(city: str, days: int = 1) -> str:
    \"\"\"The weather of the next days.

    city: the name of the place
    \"\"\"

request = LLMRequest(messages=..., tools=[tool_from(weather)])
result = await call_tool(weather, reply.tool_calls[0])          # a ToolResult, also for a wrong call
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from three_mode.errors import ConfigurationError
from three_mode.messages import Tool, ToolCall, ToolResult
from three_mode.providers.schema import rooted

_ARGUMENT = re.compile(r"^\s*(?::param\s+)?(?P<name>\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>\S.*)$")
_HEADINGS = ("args:", "arguments:", "parameters:", "returns:", "raises:")


def tool_from(function: Callable[..., Any], *, name: str | None = None, strict: bool | None = None) -> Tool:
    """Makes a tool from a function. A parameter without a type hint is an error."""
    arguments = _arguments(function)
    words, described = _docstring(function, set(arguments.__struct_fields__))
    schema = rooted(msgspec.json.schema(arguments))
    schema.pop("title", None)
    for field, text in described.items():
        schema["properties"][field] = {**schema["properties"][field], "description": text}
    schema.setdefault("properties", {})
    schema["additionalProperties"] = False
    return Tool(name=name or function.__name__, description=words, parameters=schema, strict=strict)


async def call_tool(function: Callable[..., Any], call: ToolCall) -> ToolResult:
    """Calls the function with the arguments of the model.

    Wrong arguments, and an exception of the function, become an error result: the model reads it and may try again.
    """
    if call.raw is not None:
        return ToolResult(call.id, f"the arguments are not JSON: {call.raw[:200]}", call.name, is_error=True)
    try:
        arguments = msgspec.convert(call.arguments, _arguments(function), strict=False)
    except msgspec.ValidationError as error:
        return ToolResult(call.id, f"the arguments are not right: {error}", call.name, is_error=True)
    try:
        result = function(**{name: getattr(arguments, name) for name in arguments.__struct_fields__})
        if inspect.isawaitable(result):
            result = await result
    except Exception as error:  # noqa: BLE001 - any exception of a tool is for the model to read
        return ToolResult(call.id, f"{type(error).__name__}: {error}", call.name, is_error=True)
    text = result if isinstance(result, str) else msgspec.json.encode(result, enc_hook=str).decode()
    return ToolResult(call.id, text, call.name)


def _arguments(function: Callable[..., Any]) -> Any:
    hints = get_type_hints(function, include_extras=True)
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ConfigurationError(f"{function.__name__}: a tool takes named parameters, not {parameter}")
        if parameter.name not in hints:
            raise ConfigurationError(
                f"{function.__name__}: the parameter {parameter.name!r} has no type hint",
                hint="the hints are the schema",
            )
        kind = hints[parameter.name]
        fields.append(
            (parameter.name, kind)
            if parameter.default is parameter.empty
            else (parameter.name, kind, parameter.default)
        )
    try:
        return msgspec.defstruct(function.__name__, fields, kw_only=True, forbid_unknown_fields=True)
    except TypeError as error:
        raise ConfigurationError(f"{function.__name__}: {error}") from None


def _docstring(function: Callable[..., Any], names: set[str]) -> tuple[str, dict[str, str]]:
    """Splits the docstring: the text, and the descriptions of parameters."""
    words, described = [], {}
    for line in (inspect.getdoc(function) or "").splitlines():
        match = _ARGUMENT.match(line)
        if match and match["name"] in names:
            described[match["name"]] = match["text"].strip()
        elif line.strip().lower() not in _HEADINGS:
            words.append(line)
    return "\n".join(words).strip(), described
