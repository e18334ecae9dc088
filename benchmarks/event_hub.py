"""What the hub of events costs a call and a chunk: while nobody listens, with a listener, with a reader that is slow.

The path without the hub is the library's own code with the tests for listeners taken out of its syntax tree: so it is
the same path, and stays so.
"""

import ast
import asyncio
import gc
import inspect
import textwrap
import time
from collections.abc import Callable, Coroutine, Iterator
from types import FunctionType
from typing import Any

from benchmarks.harness import Benchmark, Context, Row, Target
from three_mode import LLMConnection, LLMRequest, LLMResponse, Usage
from three_mode.calls.agent_fast_path import AgentFastPath
from three_mode.calls.call_log import ActiveCall, CallLog, new_request_id
from three_mode.calls.options import EachHook
from three_mode.calls.stream import ReplyStream
from three_mode.messages import Chunk, Finish, Text, TextDelta
from three_mode.policies import CallContext
from three_mode.policies import Target as To

CALL_ALONE, CHUNK_ALONE = "a call, nobody listens, beyond no hub", "a chunk, nobody listens, beyond no hub"
CALL_HEARD, CHUNK_HEARD = "a call, beyond nobody listens", "a chunk, beyond nobody listens"
LISTENER, READER, US = "one listener", "a reader that never reads", "three-mode"
CHUNKS, CALLS = 500, 250
TO = To("openai", "m")
REQUEST = LLMRequest(model="m", messages=[{"role": "user", "content": "Hello!"}])
REPLY = LLMResponse(parts=(Text("Hello world!"),), model="m", provider="openai", usage=Usage(12, 3), latency=0.1)
Sample = Callable[[], Coroutine[Any, Any, float]]


class _WithoutGuards(ast.NodeTransformer):
    """Takes out the tests for listeners: `if ...events is not None: ...`, and the look-up before one."""

    def __init__(self) -> None:
        self.taken = 0

    def visit_If(self, node: ast.If) -> Any:  # its name is given
        if ast.unparse(node.test).endswith("events is not None"):
            self.taken += 1
            return None
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        left = [each for each in node.values if not ast.unparse(each).endswith("events is not None")]
        self.taken += len(node.values) - len(left)
        return self.generic_visit(ast.BoolOp(node.op, left))

    def visit_Assign(self, node: ast.Assign) -> Any:
        return None if ast.unparse(node).startswith("events = ") else self.generic_visit(node)


def without_guards(function: Any) -> Any:
    """The function without its tests for listeners; a RuntimeError where it has none."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    taking = _WithoutGuards()
    tree = ast.fix_missing_locations(taking.visit(tree))
    if not taking.taken:
        raise RuntimeError(f"{function.__qualname__} asks for no listeners: what is measured has moved")
    code = compile(tree, inspect.getfile(function), "exec")
    inner = next(each for each in code.co_consts if inspect.iscode(each) and each.co_name == function.__name__)
    made = FunctionType(inner, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


class LogWithoutHub(CallLog):
    """A call log that never asks whether somebody listens."""

    begin_call = without_guards(CallLog.begin_call)
    finish_call = without_guards(CallLog.finish_call)


class StreamWithoutHub(ReplyStream):
    """A stream that never asks whether somebody listens."""

    _fill = without_guards(ReplyStream._fill)


class Instant:
    """A reply and its call: the chunks come one by one, and at once."""

    def __init__(self, log: CallLog) -> None:
        self.each: EachHook | None = None
        self.span = None
        self.log, self._left = log, CHUNKS
        self._call = active_call()

    async def open(self) -> "Instant":
        """The reply."""
        return self

    async def more(self) -> list[Chunk]:
        """The next chunk."""
        self._left -= 1
        if self._left > 0:
            return [TextDelta("word ")]
        return [Finish()] if self._left == 0 else []

    def close(self) -> None:
        """End nothing."""

    def complete_chunk(self, chunk: Chunk) -> Chunk:
        """The chunk as it is."""
        return chunk

    def tell(self, events: Any, batch: list[Chunk]) -> None:
        """As a real call does."""
        events.chunks(self._call, batch)

    async def finish(self, raw: LLMResponse, given: LLMResponse) -> LLMResponse:
        """The reply as it is."""
        return given

    def fail(self, error: BaseException, reply: Callable[[], LLMResponse]) -> None:
        """It cannot."""


def active_call() -> ActiveCall:
    """A call that was just prepared."""
    now = time.monotonic()
    context = CallContext(deadline=now + 60, began=now)
    return ActiveCall(REQUEST, new_request_id(), context, target=TO, targets=(TO,))


def calls(log: CallLog) -> Sample:
    """Seconds of what is written down of a call, from beginning to end."""

    async def sample() -> float:
        made, targets = [active_call() for _ in range(CALLS)], (TO,)
        started = time.thread_time()
        for call in made:
            log.begin_call(call, targets)
            log.finish_call(call, REPLY)
        return (time.thread_time() - started) / CALLS

    return sample


def chunks(kind: type[ReplyStream], log: CallLog) -> Sample:
    """Seconds of a chunk that is read."""

    async def sample() -> float:
        stream = kind(Instant(log))
        started = time.thread_time()
        async for _ in stream:
            pass
        return (time.thread_time() - started) / CHUNKS

    return sample


async def differences(first: Sample, second: Sample, pairs: int) -> list[float]:
    """Microseconds of the second beyond the first, in pairs that swap who goes first."""
    found = []
    gc.collect()
    gc.disable()
    try:
        for number in range(pairs):
            if number % 2:
                after, before = await second(), await first()
            else:
                before, after = await first(), await second()
            found.append(1e6 * (after - before))
    finally:
        gc.enable()
    return found


async def measure(context: Context) -> list[Row]:
    """All rows."""
    pairs, rows = context.rounds(600, least=60), []
    without_guards(AgentFastPath._enter)  # the same test as the others have; here, that it is there
    async with LLMConnection("openai", "k", model="m") as llm, LLMConnection("openai", "k", model="m") as other:
        log = llm._services.log
        alone = other._services.log
        bare = LogWithoutHub(alone.prices, alone.ledger, alone.metrics, None, None, False)
        samples = await differences(calls(bare), calls(log), pairs)
        rows.append(Row(case=CALL_ALONE, subject=US, unit="us", samples=samples))
        samples = await differences(chunks(StreamWithoutHub, log), chunks(ReplyStream, log), pairs)
        rows.append(Row(case=CHUNK_ALONE, subject=US, unit="us", samples=samples))
        for subject in (LISTENER, READER):
            context.progress(subject)
            reader = llm.events() if subject == READER else None
            leave = llm.event_hub.listen(lambda event: None) if subject == LISTENER else lambda: None
            for case, sample in ((CALL_HEARD, calls), (CHUNK_HEARD, lambda of: chunks(ReplyStream, of))):
                samples = await differences(sample(alone), sample(log), pairs // 2)
                rows.append(Row(case=case, subject=subject, unit="us", samples=samples))
            leave()
            if reader is not None:
                reader.close()
    return rows


def run(context: Context) -> Iterator[Row]:
    """Runs the benchmark."""
    context.progress(CALL_ALONE)
    yield from asyncio.run(measure(context))


BENCHMARK = Benchmark(
    summary="the hub of events: its cost for a call and for a chunk",
    run=run,
    targets=[
        Target(case=CALL_ALONE, subject=US, at_most=1.0),
        Target(case=CHUNK_ALONE, subject=US, at_most=0.2),
    ],
    notes=(
        "Processor time. A call is what its log does at its beginning and its end, a chunk one that comes alone. "
        "Beyond no hub: the same code with the tests for listeners taken out of its syntax tree, in pairs; their "
        "differences are near zero, and some are below. A listener is a function that does nothing; a reader that "
        "never reads has a full queue, and each event pushes out another. There is no peer."
    ),
)
