"""The tool loop: ask the model, run the tools that it calls, give it the results, until it answers or a limit ends it.

RunStream       RoundStarted ──> chunks ──> ToolStarted, ToolFinished... ──> RoundStarted ──> ... ──> RunFinished
run             the reply of RunFinished

The loop knows no connection: it asks anything that has `chat_completion` and `stream`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Protocol, Self

from three_mode.errors import (
    AllProvidersFailed,
    BudgetExceeded,
    DeadlineExceeded,
    StreamInterrupted,
    ThreeModeError,
)
from three_mode.messages import Chunk, LLMRequest, LLMResponse
from three_mode.tools.call_runner import CallRunner
from three_mode.tools.callable_tool import CallableTool
from three_mode.tools.collection import Tools
from three_mode.tools.events import RoundStarted, RunEnd, RunEvent, RunFinished, RunReply
from three_mode.tools.run_state import AnswerStream, OutcomeListener, RunLimits, RunState
from three_mode.tools.tracing import RunTracing

#: Tools of a run: `Tools`, or functions and tools for the default limits.
AnyTools = Tools | Iterable[CallableTool | Callable[..., Any]]


class AskedModel(Protocol):
    """Whoever answers requests: an `LLMConnection`."""

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]: ...
    def stream(self, request: LLMRequest) -> AnswerStream: ...


async def run(
    model: AskedModel,
    request: LLMRequest,
    tools: AnyTools,
    limits: RunLimits,
    told: OutcomeListener | None = None,
    tracing: RunTracing | None = None,
) -> RunReply:
    """The reply of a run. `told` hears of each tool call that is over."""
    state = RunState(request, Tools.of(tools), limits, told, tracing)
    async with aclosing(_events(state, lambda asked: _whole(model, state, asked))) as events:
        async for event in events:
            if type(event) is RunFinished:
                return event.reply
    raise AssertionError("a run ends with its reply")


class RunStream:
    """A streamed run: `async for event in llm.run_stream(...)`. It begins when it is first asked for an event.

    Leaving an `async with` block, or `aclose`, ends the model's call and the tools.
    """

    def __init__(
        self,
        model: AskedModel,
        request: LLMRequest,
        tools: AnyTools,
        limits: RunLimits,
        told: OutcomeListener | None = None,
        tracing: RunTracing | None = None,
    ) -> None:
        self._model, self._request, self._tools, self._limits = model, request, Tools.of(tools), limits
        self._told, self._tracing = told, tracing
        self._state: RunState | None = None
        self._events: AsyncGenerator[RunEvent, None] | None = None
        self._final: RunReply | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunEvent:
        if self._events is None:
            self._state = state = RunState(self._request, self._tools, self._limits, self._told, self._tracing)
            self._events = _events(state, lambda asked: _streamed(self._model, state, asked))
        event = await anext(self._events)
        if type(event) is RunFinished:
            self._final = event.reply
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the run: the model's call, and the tools that run."""
        if self._events is not None:
            await self._events.aclose()

    def response(self) -> RunReply:
        """The reply so far; whole once `RunFinished` has come. Until then, `ended` is "cancelled"."""
        if self._final is not None:
            return self._final
        state = self._state or RunState(self._request, self._tools, self._limits)
        return state.so_far()

    async def text(self) -> str:
        """Read to the end; the text of the last answer."""
        async for _ in self:
            pass
        return self.response().content


# What a round yields before its reply, which `RunState.last` has then.
_Ask = Callable[[LLMRequest], AsyncGenerator[Chunk, None]]


async def _whole(model: AskedModel, state: RunState, request: LLMRequest) -> AsyncGenerator[Chunk, None]:
    """A round whose reply comes whole."""
    at, context = time.monotonic(), state.context.copy()
    answer = context.run(model.chat_completion, request)
    state.took(await asyncio.get_running_loop().create_task(answer, context=context), at)
    nothing: tuple[Chunk, ...] = ()
    for chunk in nothing:  # which makes it an async generator
        yield chunk


async def _streamed(model: AskedModel, state: RunState, request: LLMRequest) -> AsyncGenerator[Chunk, None]:
    """A round whose reply comes in chunks."""
    at, context = time.monotonic(), state.context.copy()
    stream = context.run(model.stream, request)
    try:
        await asyncio.get_running_loop().create_task(stream.__aenter__(), context=context)
        state.stream = stream
        async for chunk in stream:
            yield chunk
    except BaseException:  # the reader left, or it broke
        partial = stream.response()
        if partial.parts:
            state.took(partial, at, whole=False)
        raise
    finally:
        state.stream = None
        await stream.aclose()
    state.took(stream.response(), at)


async def _events(state: RunState, ask: _Ask) -> AsyncGenerator[RunEvent, None]:
    """All events of a run, inside its span, where it is traced."""
    error: BaseException | None = None
    try:
        async with aclosing(_rounds(state, ask)) as events:
            async for event in events:
                yield event
    except GeneratorExit:  # its reader has what it wants
        raise
    except BaseException as failure:
        error = failure
        raise
    finally:
        if state.span is not None:
            state.span.finished(state.last, state.usage, error)


async def _rounds(state: RunState, ask: _Ask) -> AsyncGenerator[RunEvent, None]:
    """All events of a run."""
    while True:
        request = state.next_request()
        yield RoundStarted(state.rounds)
        try:
            async with aclosing(ask(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except ThreeModeError as error:
            end = _end_of(error, state)
            if end is None:
                raise
            yield RunFinished(state.reply(*end))
            return
        reply = state.last
        assert reply is not None
        calls = reply.tool_calls
        if not calls and reply.finish_reason != "pause":  # a paused model goes on when it gets back what it said
            yield RunFinished(state.reply("answer"))
            return
        over = state.over()
        if over is not None:
            state.leave_out(calls, over[1])
            yield RunFinished(state.reply(*over))
            return
        if not calls:
            continue
        runner = state.runner = CallRunner(
            state.tools,
            calls,
            round_number=state.rounds,
            began=state.began,
            deadline=state.deadline,
            context=state.context,
            told=state.tell,
            span=state.span,
        )
        async with aclosing(runner.events()) as events:
            async for event in events:
                yield event
        state.took_results(runner.outcomes)
        if state.is_late():
            yield RunFinished(state.reply("deadline", state.late_words()))
            return


def _end_of(error: ThreeModeError, state: RunState) -> tuple[RunEnd, str] | None:
    """The limit that a failed call to the model has met; None: the error is raised, as it is before the first reply."""
    if state.last is None:
        return None
    cause = error.__cause__ if isinstance(error, StreamInterrupted) else error
    if isinstance(cause, DeadlineExceeded | AllProvidersFailed) and state.is_late():
        return "deadline", state.late_words()
    if isinstance(cause, BudgetExceeded):
        return "budget", cause.message
    return None
