"""Streamed replies: chunks as they come, the reply so far, and the call behind them.

async for chunk in llm.stream(request): print(chunk.text, end="")

async with llm.stream(request) as stream:          # leaving the block ends the call at the provider, at once
    async for chunk in stream: ...
    stream.response()                              # all that came, folded
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

from three_mode.calls.call_log import ActiveCall, CallLog, FailedFirstAttempt
from three_mode.calls.options import EachHook, Observing, apply_after, apply_each
from three_mode.calls.pipeline import StreamOpener
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.channels.channel import OpenReply
from three_mode.errors import StreamInterrupted, ThreeModeError
from three_mode.messages import Chunk, Finish, LLMRequest, LLMResponse, TextDelta, fold
from three_mode.policies import Target

if TYPE_CHECKING:
    from three_mode.calls.agent_fast_stream import AgentFastStream
    from three_mode.calls.call_events import CallEvents
    from three_mode.events.values import CallVerb
    from three_mode.observe.spans import CallSpan

# Makes the call of a request, and finds its targets. A first attempt may have failed already.
Prepare = Callable[[LLMRequest, FailedFirstAttempt | None, "CallVerb"], Awaitable[tuple[ActiveCall, Sequence[Target]]]]


class StreamOwner(Protocol):
    """The call behind a stream: opens it, completes its chunks, and writes down its end. `each` may change what the
    reader is given."""

    each: EachHook | None
    log: CallLog

    @property
    def span(self) -> "CallSpan | None": ...
    async def open(self) -> OpenReply: ...
    def complete_chunk(self, chunk: Chunk) -> Chunk: ...
    def tell(self, events: "CallEvents", batch: list[Chunk]) -> None: ...
    async def finish(self, raw: LLMResponse, given: LLMResponse) -> LLMResponse: ...
    def fail(self, error: BaseException, reply: Callable[[], LLMResponse]) -> None: ...


class ReplyStream:
    """A streamed reply. It begins when it is first asked for a chunk, or entered. One reader at a time."""

    def __init__(self, owner: StreamOwner) -> None:
        self._owner = owner
        self._open: OpenReply | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Chunk] = deque()
        self._seen: list[Chunk] = []
        self._given = self._seen if owner.each is None else list[Chunk]()
        self._final: LLMResponse | None = None
        self._came: Callable[[Sequence[Chunk]], None] | None = None  # is told when chunks came, where calls are traced
        self._over = False
        self._reported = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while not self._waiting:
            await self._fill()
        return self._waiting.popleft()

    @property
    def waiting(self) -> int:
        """How many chunks are here already."""
        return len(self._waiting)

    def take(self) -> Chunk:
        """The next of the chunks that are here already."""
        return self._waiting.popleft()

    async def batch(self) -> list[Chunk]:
        """All that has come by now, and at least one chunk; [] at the end. For passing a stream on."""
        if not self._waiting:
            try:
                await self._fill()
            except StopAsyncIteration:
                return []
        batch = list(self._waiting)
        self._waiting.clear()
        return batch

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the call; chunks that came stay in `response()`."""
        self._leave(asyncio.CancelledError("left early"))
        self._waiting.clear()

    def response(self) -> LLMResponse:
        """The reply so far; `finish_reason` is "cancelled" until the reply is whole."""
        return self._final if self._final is not None else fold(self._given)

    async def text(self) -> str:
        """Read to the end; the whole text."""
        async for _ in self:
            pass
        return self.response().content

    async def _opened(self) -> OpenReply:
        if self._open is None:
            if self._over:
                raise StopAsyncIteration
            self._loop = asyncio.get_running_loop()
            try:
                self._open = await self._owner.open()
                span = self._owner.span
                self._came = None if span is None else span.came
            except BaseException as error:
                self._over = self._reported = True
                self._owner.fail(error, self.response)
                raise
        return self._open

    async def _fill(self) -> None:
        if self._over:
            raise StopAsyncIteration
        source = self._open or await self._opened()
        try:
            batch = await source.more()
        except ThreeModeError as error:
            reply = self.response()  # folded once, which takes its time for a long one
            self._leave(error, reply)
            raise self._interrupted(error, reply) from error
        except BaseException as error:
            self._leave(error)
            raise
        if not batch:
            self._leave(asyncio.CancelledError("no end"))
            raise StopAsyncIteration
        last: Chunk | None = None
        for number, chunk in enumerate(batch):
            if type(chunk) is not TextDelta:
                last = batch[number] = self._owner.complete_chunk(chunk)
        self._seen += batch
        if self._came is not None:
            self._came(batch)
        try:
            if self._owner.each is not None:
                batch = apply_each(self._owner.each, batch)
                self._given += batch
            events = self._owner.log.events
            if events is not None:
                self._owner.tell(events, batch)
            if type(last) is Finish:
                await self._finish()
        except BaseException as error:  # a hook of the program's
            self._leave(error)
            raise
        self._waiting.extend(batch)

    async def _finish(self) -> None:
        self._reported = True
        given = fold(self._given)
        raw = given if self._given is self._seen else fold(self._seen)
        self._final = await self._owner.finish(raw, given)

    def _interrupted(self, error: ThreeModeError, reply: LLMResponse) -> StreamInterrupted:
        if isinstance(error, StreamInterrupted):
            return error
        return StreamInterrupted(
            f"the reply broke off: {error.message}",
            partial=reply,
            provider=getattr(error, "provider", None),
            model=getattr(error, "model", None),
            status=getattr(error, "status", None),
            request_id=getattr(error, "request_id", None),
            hint="`partial` has what came",
        )

    def _leave(self, why: BaseException, reply: LLMResponse | None = None) -> None:
        if self._over:
            return
        self._over = True
        if self._open is not None:
            self._open.close()
            if not self._reported:
                self._reported = True
                self._owner.fail(why, lambda: reply or self.response())

    def __del__(self) -> None:
        """Cancel the call at the provider when a loop left by `break` drops the stream."""
        if self._open is None or self._over or self._loop is None or self._loop.is_closed():
            return
        # Its end is written down in the loop, which has the stream until then.
        self._loop.call_soon_threadsafe(self._leave, asyncio.CancelledError("dropped"))


class StreamedCall:
    """One streamed call: opens it, on the agents' fast path or through the pipeline, and closes its account when it
    ends."""

    def __init__(
        self,
        request: LLMRequest,
        prepare: Prepare,
        fast: "Callable[[LLMRequest], AgentFastStream | None]",
        opener: StreamOpener,
        log: CallLog,
        accounts: ProviderAccounts,
        observe: Observing,
    ) -> None:
        self._request, self._prepare, self._fast = request, prepare, fast
        self._opener, self.log, self._accounts = opener, log, accounts
        self._after, self.each = observe.after, observe.each
        self._call: ActiveCall | None = None
        self._first: Target | None = None  # who is asked first, where the pipeline asks

    async def open(self) -> OpenReply:
        """Open the reply, with its first content."""
        fast, failed = self._fast(self._request), None
        if fast is not None:
            try:
                self._call = fast.send()
                return await fast.open(self._call, self._opener)
            except ThreeModeError as error:
                failed = FailedFirstAttempt(fast.began, fast.began + fast.within, error)
        self._call, targets = await self._prepare(self._request, failed, "stream")
        self._first = targets[0]
        if self._call.span is None:
            return await self._opener.open(self._call, targets)
        with self._call.span.active():
            return await self._opener.open(self._call, targets)

    @property
    def span(self) -> "CallSpan | None":
        """The span of the call, where calls are traced."""
        return None if self._call is None else self._call.span

    def complete_chunk(self, chunk: Chunk) -> Chunk:
        """The chunk with all that a codec could not know."""
        call = self._call
        assert call is not None
        assert call.target is not None
        return self.log.complete_chunk(call, chunk, self._accounts.profile(call.target.provider))

    def tell(self, events: "CallEvents", batch: list[Chunk]) -> None:
        """Tell who listens what has come."""
        assert self._call is not None
        events.chunks(self._call, batch)

    async def finish(self, raw: LLMResponse, given: LLMResponse) -> LLMResponse:
        """`raw` is what the provider said, `given` what the reader got. The reply that the hook makes of that."""
        call = self._call
        assert call is not None
        assert call.target is not None
        try:
            given = await apply_after(self._after, given)
        except BaseException as error:
            self.log.fail_call(call, error, given)
            raise
        self.log.finish_call(call, given)
        if self._first is not None and call.reused != "cache_hit":
            raw = msgspec.structs.replace(raw, request_id=call.provider_id)
            await self._opener.store(call, raw, call.target, self._first)
        return given

    def fail(self, error: BaseException, reply: Callable[[], LLMResponse]) -> None:
        """Write down that the call ended with an error; `reply` gives what came before it."""
        call = self._call
        if call is not None:  # else it never began
            self.log.fail_call(call, error, reply() if call.first_content is not None else None)
