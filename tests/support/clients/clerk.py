"""Agent that is a model as clients of all kinds want one, with a tool for MCP and a handler for A2A.

It calls the tool that it is offered and says its result, fills a schema, and repeats what it is told otherwise."""

import json
from collections.abc import AsyncIterator
from typing import Any

from three_mode import Agent, LLMRequest, LLMResponse, handler
from three_mode.messages import Chunk, Embedded, EmbedRequest, Part, Text, ToolCall, ToolResult, Usage, chunks_of

_DSPY = "[[ ## answer ## ]]"


def filled(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """A value of a schema: its first choice, or what each type is here."""
    root = schema if root is None else root
    if "$ref" in schema:
        return filled(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for choices in ("anyOf", "oneOf", "allOf"):
        if choices in schema:
            return filled(schema[choices][0], root)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "object":
            return {name: filled(each, root) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [filled(schema.get("items", {}), root)]
        case "integer" | "number":
            return 7
        case "boolean":
            return True
        case _:
            return "Paris"


class Clerk(Agent):
    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        part = self._answer(request)
        finish = "tool_calls" if isinstance(part, ToolCall) else "stop"
        return LLMResponse(parts=(part,), model="clerk", finish_reason=finish, usage=Usage(4, 2))  # type: ignore[arg-type]

    @handler(concurrent=64)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        for chunk in chunks_of(await self.chat_completion(request)):
            yield [chunk]

    @handler(tool=True)
    async def weather(self, city: str) -> str:
        """The weather of a city."""
        return f"fine in {city}"

    @handler
    async def embed(self, request: EmbedRequest) -> Embedded:
        return Embedded(tuple((float(len(text)), 0.5) for text in request.texts), "clerk", Usage(2))

    def _answer(self, request: LLMRequest) -> Part:
        last = request.messages[-1]
        results = [part for part in last.parts if isinstance(part, ToolResult)]
        said = last.text or "".join(str(part.content) for part in results)
        tools = {tool.name: tool for tool in request.tools}
        asked = next((name for name in tools if name == "final_answer" and "fine" in said), None)  # smolagents' end
        if asked is not None:
            return ToolCall("call_2", asked, {"answer": said})
        wanted = request.response_format
        if wanted is not None and wanted.json_schema is not None and not results:
            return Text(json.dumps(filled(wanted.json_schema)))
        if tools and "fine" not in said:
            tool = next(iter(tools.values()))
            return ToolCall("call_1", tool.name, filled(dict(tool.parameters)))
        if any(_DSPY in message.text for message in request.messages):
            return Text(f"{_DSPY}\nblue\n\n[[ ## completed ## ]]")
        return Text(said)
