"""One streamed call: opens it when asked, completes its chunks, and closes its account when it ends."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from three_mode.calls.book import Book, OneCall
from three_mode.calls.engine import Engine
from three_mode.channels.channel import OpenReply
from three_mode.messages import Chunk, Finish, LLMRequest, LLMResponse, Start, Usage, UsageUpdate
from three_mode.policies import Target
from three_mode.providers import Profile
from three_mode.providers.estimate import estimate_text


class StreamedCall:
    """The owner of a `ReplyStream`."""

    def __init__(
        self,
        request: LLMRequest,
        begin: Callable[[LLMRequest], Awaitable[tuple[OneCall, list[Target]]]],
        engine: Engine,
        book: Book,
        profile: Callable[[str], Profile],
    ) -> None:
        self._request = request
        self._begin = begin
        self._engine = engine
        self._book = book
        self._profile = profile
        self._one: OneCall | None = None
        self._usage: Usage | None = None

    async def open(self) -> OpenReply:
        self._one, targets = await self._begin(self._request)
        return await self._engine.open(self._one, targets)

    def completed(self, chunk: Chunk) -> Chunk:
        one = self._one
        assert one is not None
        assert one.target is not None
        if type(chunk) is UsageUpdate:
            cached = any(step.kind == "cache_hit" for step in one.policy.steps)
            self._usage = (
                chunk.usage
                if cached
                else self._book.priced(one.target, chunk.usage, self._profile(one.target.provider))
            )
            return UsageUpdate(self._usage)
        if type(chunk) is Start:
            return Start(
                chunk.model or one.target.model,
                one.target.provider,
                one.mode,
                one.request_id,
                datetime.now(UTC),
            )
        if type(chunk) is Finish:
            return msgspec.structs.replace(
                chunk, latency=time.monotonic() - one.policy.began, steps=tuple(one.policy.steps)
            )
        return chunk

    async def finished(self, reply: Callable[[], LLMResponse]) -> None:
        one = self._one
        assert one is not None
        assert one.target is not None
        self._settle(one, self._usage or Usage())
        whole = reply()
        self._book.finished(one, whole)
        if not any(step.kind == "cache_hit" for step in one.policy.steps):
            await self._engine.keep(one, one.target, lambda: whole)

    def interrupted(self, error: BaseException, reply: Callable[[], LLMResponse]) -> None:
        one = self._one
        if one is None:  # it never began
            return
        partial = None
        if one.first_content is not None and one.target is not None:
            partial = reply()
            self._engine.broke(one.target, error)
            self._settle(one, self._usage_of(one, one.target, partial))
        self._book.failed(one, error, partial)

    def _usage_of(self, one: OneCall, target: Target, partial: LLMResponse) -> Usage:
        """What a broken stream used: what the provider counted so far, or an estimate of it."""
        seen = self._usage
        if seen is None or not seen.output_tokens:
            written = estimate_text(partial.content + partial.thinking)
            seen = Usage(seen.input_tokens if seen else one.policy.tokens, written)
        return self._book.priced(target, seen, self._profile(target.provider))

    def _settle(self, one: OneCall, usage: Usage) -> None:
        if one.target is not None and not any(step.kind == "cache_hit" for step in one.policy.steps):
            self._book.ledger.settle(one.target.provider, one.target.model, one.label, one.reserved, usage)
