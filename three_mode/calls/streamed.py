"""One streamed call: opens it when asked, completes its chunks, and closes its account when it ends."""

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from three_mode.calls.accounts import Accounts
from three_mode.calls.book import Book, OneCall
from three_mode.calls.hooks import EachHook, Hook, hooked
from three_mode.calls.opening import Opening
from three_mode.channels.channel import OpenReply
from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, Finish, LLMRequest, LLMResponse, Start, UsageUpdate
from three_mode.policies import Target

if TYPE_CHECKING:
    from three_mode.calls.stream_to_agent import StreamToAgent


class StreamedCall:
    """The owner of a `ReplyStream`."""

    def __init__(
        self,
        request: LLMRequest,
        begin: Callable[[LLMRequest], Awaitable[tuple[OneCall, Sequence[Target]]]],
        opening: Opening,
        book: Book,
        accounts: Accounts,
        short: "Callable[[LLMRequest], StreamToAgent | None]",
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
        self._one: OneCall | None = None
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
            given = await hooked(self._after, given)
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
