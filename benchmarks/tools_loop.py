"""A round of the tool loop: its cost on this side, beyond the two calls to the model and the tools' own work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Self

from benchmarks.harness import Benchmark, Context, Row, Target, alternate_async, timed_async
from three_mode.messages import Chunk, LLMRequest, LLMResponse, Text, ToolCall, Usage, chunks_of, fold
from three_mode.tools import Tools
from three_mode.tools.run import RunStream
from three_mode.tools.run import run as run_tools
from three_mode.tools.run_state import RunLimits

CALLS = 8
ASYNC = f"a round with {CALLS} parallel async no-op tools"
PLAIN = f"a round with {CALLS} parallel plain no-op tools, each on a thread"
STREAMED = f"a streamed round with {CALLS} parallel async no-op tools"
REQUEST = LLMRequest(messages=[{"role": "user", "content": "What time is it and what's 2+2?"}], model="m")


async def nothing(x: int, text: str = "") -> str:
    """Does nothing."""
    return "ok"


def nothing_plain(x: int, text: str = "") -> str:
    """Does nothing."""
    return "ok"


class Stream:
    """Chunks of a reply that is there already."""

    def __init__(self, reply: LLMResponse) -> None:
        self._left, self._seen = list(chunks_of(reply)), list[Chunk]()

    async def __aenter__(self) -> Self:
        return self

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if not self._left:
            raise StopAsyncIteration
        self._seen.append(self._left.pop(0))
        return self._seen[-1]

    async def aclose(self) -> None:
        """Ends nothing."""

    def response(self) -> LLMResponse:
        """All that came."""
        return fold(self._seen)


class InstantModel:
    """A model without any wait: it calls a tool eight times, and answers."""

    def __init__(self, tool: str) -> None:
        calls = tuple(ToolCall(f"call_{n}", tool, {"x": n, "text": "some text"}) for n in range(CALLS))
        self._calls = LLMResponse(parts=calls, model="m", finish_reason="tool_calls", usage=Usage(100, 50))
        self._answer = LLMResponse(parts=(Text("well"),), model="m", usage=Usage(200, 20))

    def _reply(self, request: LLMRequest) -> LLMResponse:
        return self._calls if len(request.messages) == 1 else self._answer

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """The reply, at once."""
        return self._reply(request)

    def stream(self, request: LLMRequest) -> Stream:
        """Its chunks, at once."""
        return Stream(self._reply(request))


async def rounds(context: Context) -> dict[str, list[float]]:
    """Seconds of a round, for each case."""
    limits, calls = RunLimits(), 40 if context.quick else 200

    def whole(function: Callable[..., Any]) -> Callable[[], Awaitable[object]]:
        model, tools = InstantModel(function.__name__), Tools([function])
        return lambda: run_tools(model, REQUEST, tools, limits)

    def streamed(function: Callable[..., Any]) -> Callable[[], Awaitable[object]]:
        model, tools = InstantModel(function.__name__), Tools([function])
        return lambda: RunStream(model, REQUEST, tools, limits).text()

    subjects = {ASYNC: whole(nothing), PLAIN: whole(nothing_plain), STREAMED: streamed(nothing)}
    samples = {name: timed_async(work, calls) for name, work in subjects.items()}
    return await alternate_async(samples, rounds=context.rounds(30, least=5))


def run(context: Context) -> Iterator[Row]:
    """Runs the benchmark."""
    context.progress(ASYNC)
    for case, seconds in asyncio.run(rounds(context)).items():
        yield Row(case=case, subject="three-mode", unit="us", samples=[1e6 * each for each in seconds])


BENCHMARK = Benchmark(
    summary="the tool loop: a round of eight no-op tools beyond its two calls to the model",
    run=run,
    targets=[
        Target(case=ASYNC, subject="three-mode", at_most=1000.0),
        Target(case=PLAIN, subject="three-mode", at_most=1000.0),
        Target(case=STREAMED, subject="three-mode", at_most=1000.0),
    ],
    notes=(
        "The model is an object of this process that answers without any wait, so that all of the time is the loop's: "
        "two requests, eight calls decoded, run side by side and encoded, one reply of the run. There is no peer: "
        "others' loops are one piece with their clients."
    ),
)
