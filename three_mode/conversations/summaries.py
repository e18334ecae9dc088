"""Summaries of one conversation: when one is due, and how it comes about. One that fails harms nothing."""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from three_mode.connection import LLMConnection
from three_mode.conversations.compaction import SummaryPlan, plan, request
from three_mode.conversations.entries import SpanSummary
from three_mode.conversations.items import WindowItems
from three_mode.conversations.kept_log import KeptLog
from three_mode.conversations.options import Compaction, ConversationOptions
from three_mode.conversations.store import Draft
from three_mode.errors import BadReply, BudgetExceeded, DeadlineExceeded, ThreeModeError
from three_mode.observe.logs import logger


class Summaries:
    """Writes the summaries of one conversation. `failed` is why the last one was not written."""

    def __init__(
        self,
        llm: Callable[[], LLMConnection],
        kept: KeptLog,
        options: ConversationOptions,
        told: Callable[[str, SpanSummary], object],
    ) -> None:
        """`told` hears of each summary that is written, with the name of the conversation."""
        self._llm, self._kept, self._options, self._told = llm, kept, options, told
        self._next_try = 0  # the turn from which one is tried again
        self.failed: ThreeModeError | None = None

    def is_due(self, items: WindowItems, limit: int) -> bool:
        """Whether the window is so full that older turns are to be summarised."""
        options, window = self._options, self._options.window
        if options.compaction is None or not options.auto_summarise:
            return False
        if self._kept.log.last_turn < self._next_try:
            return False
        if window.messages is not None and items.messages >= window.compact_at * window.messages:
            return True
        return items.tokens >= window.compact_at * limit

    async def compact(
        self, options: Compaction, limit: int, everything: bool, until: float | None = None
    ) -> SpanSummary | None:
        """Summarise older turns; all but the last ones, or as many as it takes to make half of the threshold free.

        It takes half of the time that is left until `until`, at most. None where there is nothing to summarise. Raises
        what went wrong.
        """
        log, window = self._kept.log, self._options.window
        leave = 0 if everything else int(limit * window.compact_at / 2)
        planned = plan(log, options, first_turns(self._kept, window.keep_first), limit, leave)
        if planned is None:
            return None
        if options.budget is not None and log.summary_tokens >= options.budget:
            raise BudgetExceeded(
                f"summaries of this conversation have used {log.summary_tokens} of {options.budget} tokens",
                hint="raise Compaction(budget=)",
            )
        summary = await self._summary(options, planned, until)
        await self._kept.write([Draft(planned.last, summary)])
        self._told(self._kept.name, summary)
        return summary

    async def try_compact(self, limit: int, until: float | None) -> bool:
        """Summarise, if it can be done. What went wrong is logged, and not tried again at once."""
        options = self._options.compaction
        assert options is not None
        try:
            done = await self.compact(options, limit, False, until)
        except ThreeModeError as error:
            self.failed = error
            self._next_try = self._kept.log.last_turn + options.pause + 1
            logger.warning(
                "compaction_failed",
                extra={"event": "compaction_failed", "conversation": self._kept.name, "error": str(error)},
            )
            return False
        self.failed = None
        return done is not None

    async def _summary(self, options: Compaction, planned: SummaryPlan, until: float | None) -> SpanSummary:
        within = options.within
        if until is not None:
            within = min(within, max(0.001, (until - asyncio.get_running_loop().time()) / 2))
        asked = replace(request(planned, options, self._kept.name), within=within)
        try:
            async with asyncio.timeout(within):
                reply = await self._llm().chat_completion(asked)
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise DeadlineExceeded("no summary came in the time allowed", model=options.model) from None
        text = reply.content.strip()
        if not text:
            raise BadReply("the summary is empty", model=options.model)
        return SpanSummary(planned.first, planned.last, text, reply.model, reply.usage)


def first_turns(kept: KeptLog, messages: int) -> int:
    """The number of the last turn that has one of the first messages; 0: none."""
    begun, last = 0, 0
    for record in kept.log.live():
        if begun >= messages:
            break
        begun, last = begun + len(record.messages), record.number
    return last
