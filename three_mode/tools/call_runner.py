"""Tool calls of one reply, side by side: approval, limits, time-outs, and an outcome for each.

waiting ──> approve ──> running ──> finished
   │           └──> refused    └──> timed out: cancelled, and left where it does not end
   └──> unknown tool, or arguments that are no JSON: finished at once

A tool runs in a task of its own, so that one that ignores its cancellation holds up nobody.
"""

import asyncio
import inspect
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any

from three_mode.errors import ThreeModeError
from three_mode.handling import HandledCall, current
from three_mode.messages import ToolCall, ToolResult
from three_mode.tools.arguments import UnfitArguments
from three_mode.tools.callable_tool import CallableTool
from three_mode.tools.collection import Approve, Tools
from three_mode.tools.events import ToolFinished, ToolStarted
from three_mode.tools.outcome import CallStatus, ToolOutcome, cut_content, outcome_of_left_out, result_content
from three_mode.tools.paging import read_on
from three_mode.tools.threads import THREADS
from three_mode.tools.tracing import RunSpan

GRACE = 0.5  # seconds that cancelled tools have to end, before they are left alone


class RefusedCall(Exception):
    """`approve` refused the call."""


class BrokenApproval(Exception):
    """`approve` itself raised, which is an error of the program and not of a tool."""


class CallRunner:
    """Runs the calls of one reply, as events; `outcomes` has what became of each."""

    def __init__(
        self,
        tools: Tools,
        calls: Sequence[ToolCall],
        *,
        round_number: int,
        began: float,
        deadline: float,
        context: Context,
        told: Callable[[ToolOutcome], object] | None = None,
        span: RunSpan | None = None,
    ) -> None:
        """`began` and `deadline` are those of the run, on the monotonic clock. `told` hears of each outcome at once."""
        self._told, self._span = told, span
        self._tools, self._calls, self._round = tools, calls, round_number
        self._began, self._deadline, self._context = began, deadline, context
        self._outcomes: list[ToolOutcome | None] = [None] * len(calls)
        self._started = [time.monotonic()] * len(calls)
        self._waiting = deque(range(len(calls)))
        self._running = 0
        self._left = len(calls)
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._events: deque[ToolStarted | ToolFinished] = deque()
        self._broken: BaseException | None = None
        self._wake: asyncio.Future[None] | None = None
        self._approving = asyncio.Lock()
        self._closed = False

    @property
    def outcomes(self) -> list[ToolOutcome]:
        """One for each call, in their order; those that are not over were left."""
        return [
            outcome or outcome_of_left_out(call, self._round, self._started[number] - self._began, "the run was left")
            for number, (call, outcome) in enumerate(zip(self._calls, self._outcomes, strict=True))
        ]

    async def events(self) -> AsyncGenerator[ToolStarted | ToolFinished, None]:
        """Runs all calls; leaving early cancels those that run."""
        loop = asyncio.get_running_loop()
        over = loop.call_later(max(0.0, self._deadline - time.monotonic()), self._end_all)
        try:
            self._start_more()
            while self._left or self._events:
                while self._events:
                    yield self._events.popleft()
                if self._broken is not None:
                    raise self._broken
                if self._left and not self._events:
                    self._wake = loop.create_future()
                    await self._wake
        finally:
            over.cancel()
            await self._close()

    def _start_more(self) -> None:
        while self._waiting and self._running < self._tools.at_once:
            self._start(self._waiting.popleft())

    def _start(self, number: int) -> None:
        call = self._calls[number]
        self._started[number] = time.monotonic()
        self._tell(ToolStarted(call, self._round))
        tool = self._tools.by_name.get(call.name)
        if number >= self._tools.most_calls:
            self._finish(number, "not_run", f"not run: at most {self._tools.most_calls} calls at a time")
        elif tool is None:
            names = ", ".join(self._tools.by_name) or "none"
            self._finish(number, "unknown", f"there is no tool {call.name!r}; there are: {names}")
        elif call.raw is not None:
            self._finish(number, "arguments", f"the arguments are not JSON: {call.raw[:200]}")
        else:
            self._running += 1
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._work(number, tool, call), context=self._context.copy())
            self._tasks[number] = task
            task.add_done_callback(partial(self._task_done, number))

    async def _work(self, number: int, tool: CallableTool, call: ToolCall) -> Any:
        if self._tools.approve is not None:
            async with self._approving:  # one question after the other, in the order of the calls
                await _ask(self._tools.approve, call)
        self._limit_time(number)
        try:
            if self._span is None:
                return await tool.call(call.arguments)
            with self._span.tool(tool, call) as end:
                end.result = result = await tool.call(call.arguments)
                return result
        except (SystemExit, GeneratorExit) as error:  # asyncio would end the loop for the one, and choke on the other
            raise RuntimeError(f"{type(error).__name__}: {error}") from None

    def _limit_time(self, number: int) -> None:
        """From now on the call has its own time; calls that the tool makes inherit it."""
        if self._outcomes[number] is not None:
            return
        limit = self._tools.each_within
        if limit is None or limit >= self._deadline - time.monotonic():
            return
        timer = asyncio.get_running_loop().call_later(limit, self._expire, number, limit)
        self._timers[number] = timer
        run = current.get()
        current.set(HandledCall(run.agent, run.turn, time.monotonic() + limit, run.trace, run.chain))

    def _task_done(self, number: int, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(number, None)
        error = None if task.cancelled() else task.exception()  # asked for in any case: else asyncio complains
        if self._closed or self._outcomes[number] is not None:  # left, or timed out
            return
        self._running -= 1
        if task.cancelled():
            self._finish(number, "failed", "CancelledError: the tool was cancelled")
        elif error is None:
            self._finish_with(number, task.result())
        elif isinstance(error, UnfitArguments):
            self._finish(number, "arguments", str(error))
        elif isinstance(error, RefusedCall):
            self._finish(number, "refused", str(error))
        elif isinstance(error, BrokenApproval):
            self._broken = error.__cause__
            self._finish(number, "refused", "the call was not approved")
        else:
            self._finish(number, "failed", _words(error))
        self._start_more()

    def _finish_with(self, number: int, value: Any) -> None:
        call, limit = self._calls[number], self._tools.result_limit
        then = read_on(call.id, limit) if self._tools.pages else "ask for less"
        try:
            content, whole = cut_content(result_content(value), limit, then)
        except Exception as error:  # noqa: BLE001  # a result that cannot be sent is a failure of its tool
            self._finish(number, "failed", f"the result cannot be sent: {_words(error)}")
            return
        result = ToolResult(call.id, content, call.name)
        self._keep(number, result, "ok" if whole is None else "cut", whole)

    def _finish(self, number: int, status: CallStatus, words: str) -> None:
        call = self._calls[number]
        content, whole = cut_content(words, self._tools.result_limit)
        assert isinstance(content, str)
        self._keep(number, ToolResult(call.id, content, call.name, is_error=True), status, whole)

    def _keep(self, number: int, result: ToolResult, status: CallStatus, whole: str | None) -> None:
        started = self._started[number]
        outcome = ToolOutcome(
            call=self._calls[number],
            result=result,
            status=status,
            round=self._round,
            at=started - self._began,
            seconds=time.monotonic() - started,
            whole=whole,
        )
        self._outcomes[number] = outcome
        self._left -= 1
        timer = self._timers.pop(number, None)
        if timer is not None:
            timer.cancel()
        self._tell(ToolFinished(outcome))
        if self._told is not None:
            self._told(outcome)

    def _tell(self, event: ToolStarted | ToolFinished) -> None:
        self._events.append(event)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _expire(self, number: int, limit: float) -> None:
        self._timers.pop(number, None)
        if self._outcomes[number] is None:
            self._running -= 1
            self._finish(number, "timeout", f"the tool did not finish within {limit:g} seconds")
            self._cancel(number)
            self._start_more()

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()

    def _end_all(self) -> None:
        """The run's time is over: end the calls that run, and begin no more."""
        while self._waiting:
            self._finish(self._waiting.popleft(), "not_run", "not run: the time of the run is over")
        for number in range(len(self._calls)):
            if self._outcomes[number] is None:
                self._running -= 1
                self._finish(number, "timeout", "the tool did not finish before the time of the run was over")
                self._cancel(number)

    async def _close(self) -> None:
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)


async def _ask(approve: Approve, call: ToolCall) -> None:
    """Raises RefusedCall where the program does not approve."""
    try:
        if inspect.iscoroutinefunction(approve):
            verdict = await approve(call)
        else:
            answer = await THREADS.run(partial(approve, call))
            verdict = await answer if inspect.isawaitable(answer) else answer
    except Exception as error:
        raise BrokenApproval from error
    if isinstance(verdict, str):
        raise RefusedCall(f"the call was refused: {verdict}")
    if verdict is not True:
        raise RefusedCall("the call was refused")


def _words(error: BaseException) -> str:
    if isinstance(error, ThreeModeError):
        return f"{type(error).__name__}: {error.message}"
    return f"{type(error).__name__}: {error}"
