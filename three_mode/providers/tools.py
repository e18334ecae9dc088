"""Tools from typed Python functions, without a run: the JSON Schema from type hints, the words from the docstring.

def weather(city: str, days: int = 1) -> str:
    \"\"\"The weather of the next days.

    city: the name of the place
    \"\"\"

request = LLMRequest(messages=..., tools=[tool_from(weather)])
result = await call_tool(weather, reply.tool_calls[0])          # a ToolResult, also for a wrong call

`LLMConnection.run` does both, again and again, with limits: three_mode/tools/.
"""

import inspect
from collections.abc import Callable
from typing import Any

from three_mode.messages import Tool, ToolCall, ToolResult
from three_mode.tools.arguments import ArgumentSchema, UnfitArguments
from three_mode.tools.outcome import result_content


def tool_from(function: Callable[..., Any], *, name: str | None = None, strict: bool | None = None) -> Tool:
    """Makes a tool from a function. A parameter without a type hint is an error."""
    arguments = ArgumentSchema.of(function)
    return Tool(
        name=name or function.__name__, description=arguments.description, parameters=arguments.schema, strict=strict
    )


async def call_tool(function: Callable[..., Any], call: ToolCall) -> ToolResult:
    """Calls the function with the arguments of the model, a plain function at once.

    Wrong arguments, and an exception of the function, become an error result: the model reads it and may try again.
    """
    if call.raw is not None:
        return ToolResult(call.id, f"the arguments are not JSON: {call.raw[:200]}", call.name, is_error=True)
    try:
        keywords = ArgumentSchema.of(function).decode(call.arguments)
    except UnfitArguments as error:
        return ToolResult(call.id, str(error), call.name, is_error=True)
    try:
        result = function(**keywords)
        if inspect.isawaitable(result):
            result = await result
        content = result_content(result)
    except Exception as error:  # noqa: BLE001 - any exception of a tool is for the model to read
        return ToolResult(call.id, f"{type(error).__name__}: {error}", call.name, is_error=True)
    return ToolResult(call.id, content, call.name)
