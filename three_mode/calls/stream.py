"""What `stream()` gives: chunks as they come, and the reply so far; and the call behind it.

async for chunk in llm.stream(request): print(chunk.text, end="")

async with llm.stream(request) as stream:          # leaving the block ends the call at the provider, at once
    async for chunk in stream: ...
    stream.response()                              # all that came, folded
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

from three_mode.calls.call_log import ActiveCall, CallLog
from three_mode.calls.options import EachHook, Hook, apply_after, apply_each
from three_mode.calls.pipeline import StreamOpener
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.channels.channel import OpenReply
from three_mode.errors import StreamInterrupted, ThreeModeError
from three_mode.messages import Chunk, Finish, LLMRequest, LLMResponse, Start, TextDelta, UsageUpdate, fold
from three_mode.policies import Target

if TYPE_CHECKING:
    from three_mode.calls.agent_fast_path import AgentFastStream


class StreamOwner(Protocol):
    """Who makes the call: opens it, completes chunks that only it can complete, and hears how it ended. `each` may change what
    the reader is given."""

    each: EachHook | None

    async def open(self) -> OpenReply: ...
    def completed(self, chunk: Chunk) -> Chunk: ...
    async def finished(self, raw: LLMResponse, given: LLMResponse) -> LLMResponse: ...
    def interrupted(self, error: BaseException, reply: Callable[[], LLMResponse]) -> None: ...


class ReplyStream:
    """Begins when it is first asked for a chunk, or entered. One reader at a time."""

    def __init__(self, owner: StreamOwner) -> None:
        self._owner = owner
        self._open: OpenReply | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Chunk] = deque()
        self._seen: list[Chunk] = []
        self._given = self._seen if owner.each is None else list[Chunk]()
        self._final: LLMResponse | None = None
        self._over = False
        self._told = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while not self._waiting:
            await self._fill()
        return self._waiting.popleft()

    @property
    def waiting(self) -> int:
        """Chunks that are here already."""
        return len(self._waiting)

    def take(self) -> Chunk:
        """One of those."""
        return self._waiting.popleft()

    async def batch(self) -> list[Chunk]:
        """All that has come by now, and at least one chunk; [] at the end. For whoever passes a stream on."""
        if not self._waiting:
            try:
                await self._fill()
            except StopAsyncIteration:
                return []
        batch = list(self._waiting)
        self._waiting.clear()
        return batch

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the call; chunks that came stay in `response()`."""
        self._leave(asyncio.CancelledError("left early"))
        self._waiting.clear()

    def response(self) -> LLMResponse:
        """What has come so far; `finish_reason` is "cancelled" until the reply is whole."""
        return self._final if self._final is not None else fold(self._given)

    async def text(self) -> str:
        """Reads to the end; the whole text."""
        async for _ in self:
            pass
        return self.response().content

    async def _begin(self) -> OpenReply:
        if self._open is None:
            if self._over:
                raise StopAsyncIteration
            self._loop = asyncio.get_running_loop()
            try:
                self._open = await self._owner.open()
            except BaseException as error:
                self._over = self._told = True
                self._owner.interrupted(error, self.response)
                raise
        return self._open

    async def _fill(self) -> None:
        if self._over:
            raise StopAsyncIteration
        source = self._open or await self._begin()
        try:
            batch = await source.more()
        except ThreeModeError as error:
            self._leave(error)
            raise self._interrupted(error) from error
        except BaseException as error:
            self._leave(error)
            raise
        if not batch:
            self._leave(asyncio.CancelledError("no end"))
            raise StopAsyncIteration
        last: Chunk | None = None
        for number, chunk in enumerate(batch):
            if type(chunk) is not TextDelta:
                last = batch[number] = self._owner.completed(chunk)
        self._seen += batch
        try:
            if self._owner.each is not None:
                batch = apply_each(self._owner.each, batch)
                self._given += batch
            if type(last) is Finish:
                await self._finish()
        except BaseException as error:  # a hook of the program's
            self._leave(error)
            raise
        self._waiting.extend(batch)

    async def _finish(self) -> None:
        self._told = True
        given = fold(self._given)
        raw = given if self._given is self._seen else fold(self._seen)
        self._final = await self._owner.finished(raw, given)

    def _interrupted(self, error: ThreeModeError) -> StreamInterrupted:
        if isinstance(error, StreamInterrupted):
            return error
        return StreamInterrupted(
            f"the reply broke off: {error.message}",
            partial=self.response(),
            provider=getattr(error, "provider", None),
            model=getattr(error, "model", None),
            status=getattr(error, "status", None),
            request_id=getattr(error, "request_id", None),
            hint="`partial` has what came",
        )

    def _leave(self, why: BaseException) -> None:
        if self._over:
            return
        self._over = True
        if self._open is not None:
            self._open.close()
            if not self._told:
                self._told = True
                self._owner.interrupted(why, self.response)

    def __del__(self) -> None:
        """A loop that was left by `break` drops the stream: the provider is told then too."""
        if self._open is None or self._over or self._loop is None or self._loop.is_closed():
            return
        self._over = True
        self._loop.call_soon_threadsafe(self._open.close)


class StreamedCall:
    """The owner of a `ReplyStream`."""

    def __init__(
        self,
        request: LLMRequest,
        begin: Callable[[LLMRequest], Awaitable[tuple[ActiveCall, Sequence[Target]]]],
        opening: StreamOpener,
        book: CallLog,
        accounts: ProviderAccounts,
        short: "Callable[[LLMRequest], AgentFastStream | None]",
        after: Hook | None = None,
        each: EachHook | None = None,
    ) -> None:
        self._request = request
        self._begin = begin
        self._opening = opening
        self._book = book
        self._accounts = accounts
        self._short = short
        self._after = after
        self.each = each
        self._one: ActiveCall | None = None
        self._first: Target | None = None  # who is asked first, where it goes at length
        self._theirs = ""  # the provider's own id of the reply

    async def open(self) -> OpenReply:
        short, failed = self._short(self._request), None
        if short is not None:
            try:
                self._one = short.send()
                return await short.open(self._one, self._opening, self._accounts)
            except ThreeModeError as error:
                failed = error
        self._one, targets = await self._begin(self._request)
        if short is not None:
            self._one.policy.began, self._one.policy.deadline = short.began, short.began + short.within
            self._one.failed = failed
        self._first = targets[0]
        return await self._opening.open(self._one, targets)

    def completed(self, chunk: Chunk) -> Chunk:
        one = self._one
        assert one is not None
        assert one.target is not None
        if type(chunk) is UsageUpdate:
            cached = any(step.kind == "cache_hit" for step in one.policy.steps)
            if cached:
                return chunk
            return UsageUpdate(self._book.priced(one.target, chunk.usage, self._accounts.profile(one.target.provider)))
        if type(chunk) is Start:
            if chunk.request_id != one.request_id:
                self._theirs = chunk.request_id
            return Start(
                chunk.model or one.target.model,
                one.target.provider,
                one.mode,
                one.request_id,
                datetime.now(UTC),
            )
        if type(chunk) is Finish:
            return msgspec.structs.replace(
                chunk,
                latency=time.monotonic() - one.policy.began,
                steps=tuple(one.policy.steps),
                extra={**chunk.extra, "provider_request_id": self._theirs} if self._theirs else chunk.extra,
            )
        return chunk

    async def finished(self, raw: LLMResponse, given: LLMResponse) -> LLMResponse:
        """`raw` is what the provider said, `given` what the reader got. The reply that the hook makes of that."""
        one = self._one
        assert one is not None
        assert one.target is not None
        try:
            given = await apply_after(self._after, given)
        except BaseException as error:
            self._book.failed(one, error, given)
            raise
        self._book.finished(one, given)
        if self._first is not None and not any(step.kind == "cache_hit" for step in one.policy.steps):
            raw = msgspec.structs.replace(raw, request_id=self._theirs)
            await self._opening.keep(one, raw, one.target, self._first)
        return given

    def interrupted(self, error: BaseException, reply: Callable[[], LLMResponse]) -> None:
        one = self._one
        if one is not None:  # else it never began
            self._book.failed(one, error, reply() if one.first_content is not None else None)
