"""Agents that ask one another and models, and a tracer that writes the spans of its process to a file."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from three_mode import Agent, LLMRequest, LLMResponse, handler, on
from three_mode.messages import Embedded, EmbedRequest, Text, ToolCall


class Weather(Agent):
    """Answers questions of other agents."""

    @handler
    async def of(self, city: str) -> str:
        """The weather of a city."""
        if city == "nowhere":
            raise ValueError(city)
        return f"rain in {city}"

    @handler
    async def hours(self, city: str) -> AsyncIterator[str]:
        yield f"rain in {city}"

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        pass


class Brain(Agent):
    """A model that calls the tool `of` once, and then answers."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        if request.messages[-1].role == "tool" or not request.tools:
            return LLMResponse(parts=(Text("it rains"),), finish_reason="stop")
        call = ToolCall("c1", "of", {"city": "Bern"})
        return LLMResponse(parts=(call,), finish_reason="tool_calls")

    @handler
    async def embed(self, request: EmbedRequest) -> Embedded:
        return Embedded(tuple((1.0,) for _ in request.texts))


class Planner(Agent):
    """Runs a model with another agent as its tool."""

    @handler
    async def plan(self, question: str) -> str:
        request = LLMRequest(model="agent:brain/0", messages=[{"role": "user", "content": question}])
        return (await self.llm.run(request, [self.ref("weather/0").tool(Weather.of)])).content

    @handler
    async def ask(self, city: str) -> list[str]:
        weather = self.ref("weather/0")
        return [part async for part in weather.stream(Weather.hours, city)] + [await weather.ask(Weather.of, city)]


def traced() -> Any:
    """The tracer of one process."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    from three_mode.observe import AgentTracer

    provider = TracerProvider()
    out = Path(os.environ["TRACE_FILE"]).open("a", buffering=1)  # noqa: SIM115  # open as long as its process
    exporter = ConsoleSpanExporter(out=out, formatter=lambda span: f"{span.to_json(indent=None)}\n")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return AgentTracer(provider)
