"""Endpoint on a real socket, and a backend whose models behave as their names say."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from three_mode.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    NotFound,
    Overloaded,
    StreamInterrupted,
    ThreeModeError,
)
from three_mode.messages import (
    Chunk,
    EmbedRequest,
    Finish,
    LLMRequest,
    LLMResponse,
    Start,
    TextDelta,
    ToolDelta,
    Usage,
    UsageUpdate,
    fold,
)
from three_mode.serve import App, Embedded, ModelInfo, ServeOptions, Tls, serve
from three_mode.serve.backend import AgentVerbs

ERRORS: dict[str, ThreeModeError] = {
    "overloaded": Overloaded("the mailbox is full", retry_after=2.0),
    "unreachable": ConnectionFailed("no connection"),
}


@dataclass
class Scripted:
    """Backend with scripted models.

    `echo` repeats the user's words; `forever` never ends; `flood` never ends and fills every buffer; `broken` fails
    after one word; `tool` calls a tool.
    """

    seen: list[LLMRequest] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0  # answers that never end, being given now

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return fold([chunk async for chunk in self._chunks(request)])

    def stream(self, request: LLMRequest) -> "ScriptedStream":
        return ScriptedStream(self._chunks(request))

    async def embed(self, request: EmbedRequest) -> Embedded:
        if request.model != "embedder":
            raise NotFound(f"no model {request.model!r}")
        return Embedded(
            tuple((float(len(text)), 0.5) for text in request.texts),
            request.model,
            Usage(input_tokens=len(request.texts)),
        )

    async def available_models(self) -> Sequence[ModelInfo]:
        return [ModelInfo("echo"), ModelInfo("agent:echo", "agents")]

    async def _chunks(self, request: LLMRequest) -> AsyncIterator[Chunk]:
        self.seen.append(request)
        model = request.model or ""
        if model in ERRORS:
            raise ERRORS[model]
        if model == "unforeseen":
            raise KeyError("a bug that holds sk-secret in its text")
        yield Start(model=model, provider="scripted")
        if model == "flood":
            self.running += 1
            try:
                while True:
                    yield TextDelta("on " * 30_000)
                    await asyncio.sleep(0.005)
            finally:
                self.running -= 1
        if model == "forever":
            self.running += 1
            try:
                async with asyncio.timeout(request.within):
                    while True:
                        yield TextDelta("on ")
                        await asyncio.sleep(0.005)
            except TimeoutError:
                raise DeadlineExceeded("the model was still writing") from None
            except (asyncio.CancelledError, GeneratorExit):
                self.cancelled.set()
                raise
            finally:
                self.running -= 1
        if model == "tool":
            yield ToolDelta(3, "call_a", "add", '{"x":')
            yield ToolDelta(3, arguments="1}")
            yield ToolDelta(5, "call_b", "mul", "{}")
            yield UsageUpdate(Usage(7, 5))
            yield Finish("tool_calls")
            return
        for word in request.messages[-1].text.split(" "):
            yield TextDelta(word + " ")
            if model == "broken":
                raise StreamInterrupted("the provider went away")
        yield UsageUpdate(Usage(input_tokens=3, output_tokens=4, cache_read_tokens=2))
        yield Finish()


class ScriptedStream:
    """Async iterator whose exit closes its generator."""

    def __init__(self, chunks: AsyncIterator[Chunk]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> "ScriptedStream":
        return self

    async def __anext__(self) -> Chunk:
        return await anext(self._chunks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._chunks.aclose()  # type: ignore[attr-defined]  # it is a generator


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Endpoint:
    """Running endpoint."""

    app: App
    backend: Scripted
    url: str


@asynccontextmanager
async def endpoint(
    tls: Tls | None = None, agents: AgentVerbs | None = None, **options: object
) -> AsyncIterator[Endpoint]:
    backend, port = Scripted(), free_port()
    app = App(backend, ServeOptions(port=port, tls=tls, **options), agents=agents)  # type: ignore[arg-type]
    async with serve(app):
        yield Endpoint(app, backend, f"{'https' if tls else 'http'}://127.0.0.1:{port}")
