"""Requests of a conversation: what of its log the model is shown, and the answer, with or without tools."""

import asyncio
from typing import Any, NamedTuple

from msgspec.structs import replace

from three_mode.conversations.compaction import shown
from three_mode.conversations.counting import EstimatedCount, LocalCount, TokenCounter
from three_mode.conversations.hooks import told
from three_mode.conversations.items import WindowItems, items_of
from three_mode.conversations.kept_log import KeptLog
from three_mode.conversations.log import TurnRecord
from three_mode.conversations.shared import Shared, TalkSetup
from three_mode.conversations.summaries import Summaries
from three_mode.conversations.window import WindowItem, WindowView, fit, settle
from three_mode.errors import ContextLength
from three_mode.messages import LLMRequest, LLMResponse, Message, Text
from three_mode.tools import Tools

_REFITS = 8  # of a window whose exact count is above its limit
_NO_LIMIT = 1 << 60  # tokens
_SLACK = 16  # tokens that a refit takes off beside the excess


class TurnAnswer(NamedTuple):
    """What a turn ends with."""

    reply: LLMResponse
    messages: tuple[Message, ...]  #: that the model and the tools added


class Asking:
    """The requests of one conversation."""

    def __init__(self, shared: Shared, setup: TalkSetup, kept: KeptLog) -> None:
        self._shared, self._setup, self._kept = shared, setup, kept
        self.summaries = Summaries(lambda: shared.model, kept, setup.options, shared.tell_compacted)
        self._counters: dict[str | None, TokenCounter] = {}
        self._counted_for: str | None = None
        self._begins = 0  # the turn that the last window began with
        self._ratio = 1.0  # of an exact count to the sum of the messages' counts, where it is above that

    async def request(self, record: TurnRecord, fields: dict[str, Any], until: float | None) -> LLMRequest:
        """The request for the answer to a turn, which ends at `until`. `fields` are more fields of the request."""
        options, window = self._setup.options, self._setup.options.window
        exact: int | None = None
        fields = {"model": self._setup.model, "max_tokens": options.max_tokens, **fields}
        fields["metadata"] = {"conversation": self._kept.name, **fields.get("metadata", {})}
        counter = await self._counter(fields["model"])
        limit = await counter.limit(window.tokens, fields["max_tokens"])
        items = await self._items(counter, limit, until)
        system, shown_now = await self._system(counter), await self._said(counter, record, items)
        tokens = int(limit / self._ratio)
        for _ in range(_REFITS):
            view = self._settled(system, shown_now, tokens)
            request = LLMRequest(messages=view.messages, within=left(until), **fields)
            exact = await counter.total(request)
            if exact is not None:
                self._ratio = max(1.0, exact / max(1, view.tokens))
            if exact is None or exact <= limit:
                self._begins = view.begins if view.crowded else self._begins
                return request
            tokens = min(tokens, view.tokens, int(limit / self._ratio)) - _SLACK
        raise ContextLength(
            f"the window of {limit} tokens cannot hold what has to stay, which is {exact}",
            field="messages",
            hint="shorten the message or the system message, pin less, or give Window(tokens=) more",
        )

    def _settled(self, system: list[WindowItem], items: list[WindowItem], tokens: int) -> WindowView:
        """What fits; where counts are not what they were, at least what has to stay."""
        window = self._setup.options.window
        try:
            return settle(system, items, tokens, window)
        except ContextLength:
            if self._ratio == 1.0:
                raise
            return fit(system, items, _NO_LIMIT, 0, window.keep_first)

    async def answer(self, request: LLMRequest) -> TurnAnswer:
        """The answer to a request."""
        tools = self.tools
        if tools is None:
            reply = await self._shared.model.chat_completion(request)
            return answer_of(request, reply, None)
        if hasattr(tools, "run"):
            return answer_of(request, *reply_of(await tools.run(request)))
        run = await self._shared.model.run(request, **self.run_options(tools, request))
        return answer_of(request, *reply_of(run))

    @property
    def tools(self) -> Any:
        """The tools of the conversation, where they are to be used."""
        return self._setup.tools if self._setup.options.use_tools else None

    def run_options(self, tools: Any, request: LLMRequest) -> dict[str, Any]:
        """The options of the connection's own run."""
        options = self._setup.options
        if options.tools_at_once is not None:
            tools = replace(Tools.of(tools), at_once=options.tools_at_once)
        return {"tools": tools, "most_rounds": options.most_rounds, "within": request.within}

    def begin_anew(self) -> None:
        """Forget with which turn the window began: turns were taken back, and older ones may fit again."""
        self._begins = 0

    async def count(self) -> int:
        """Count what was not counted yet; the most tokens of a window."""
        window = self._setup.options.window
        counter = await self._counter(self._setup.model)
        await self._count(counter)
        return await counter.limit(window.tokens, self._setup.options.max_tokens)

    # The window

    async def _said(self, counter: TokenCounter, record: TurnRecord, items: WindowItems) -> list[WindowItem]:
        """The items, and what is being said now with what the memory knows about it."""
        memory = self._setup.memory if self._setup.options.use_memory else None
        if memory is None:
            return items.items
        said = tuple(await memory.recalled(record.said))
        counts = await counter.counts(said)
        now = [WindowItem(message, count, True) for message, count in zip(said, counts, strict=True)]
        return items.items[: -len(record.said)] + now

    async def _system(self, counter: TokenCounter) -> list[WindowItem]:
        text = told(self._kept.log.system, self._setup.persona if self._setup.options.use_persona else None)
        if not text:
            return []
        message = Message("system", text)
        return [WindowItem(message, (await counter.counts([message]))[0], True)]

    async def _items(self, counter: TokenCounter, limit: int, until: float | None) -> WindowItems:
        await self._count(counter)
        items = await self._items_now(counter, limit)
        if self.summaries.is_due(items, limit) and await self.summaries.try_compact(limit, until):
            items = await self._items_now(counter, limit)
        if self._setup.options.compaction is None:  # else they are still to be summarised
            self._kept.log.forget(items.used)
        return items

    async def _items_now(self, counter: TokenCounter, limit: int) -> WindowItems:
        log = self._kept.log
        tokens = (await counter.counts([shown(log.summary)]))[0] if log.summary is not None else 0
        return items_of(log, limit, self._setup.options.window.keep_first, tokens, self._begins)

    async def _count(self, counter: TokenCounter) -> None:
        """Count the turns that were not counted yet, in one go."""
        fresh = [record for record in self._kept.log.live() if record.counts is None]
        messages = [message for record in fresh for message in record.messages]
        counts = iter(await counter.counts(messages) if messages else ())
        for record in fresh:
            record.count([next(counts) for _ in record.messages])

    async def _counter(self, model: str | None) -> TokenCounter:
        llm = self._shared.model
        named = model or llm.default_model
        counter = self._counters.get(named)
        if counter is None:
            answers = await llm.local_model(named) if named is not None else None
            window = self._setup.options.window
            estimated = EstimatedCount(llm, named, window.margin, window.exact)
            counter = LocalCount(answers) if answers is not None else estimated
            self._counters[named] = counter
        if named != self._counted_for:
            self._counted_for = named
            self._begins, self._ratio = 0, 1.0
            for record in self._kept.log.records.values():
                record.count(None)
        return counter


def reply_of(run: Any) -> tuple[LLMResponse, tuple[Message, ...]]:
    """The reply of a run, and its messages."""
    reply = run if isinstance(run, LLMResponse) else run.reply
    return reply, tuple(run.messages)


def answer_of(request: LLMRequest, reply: LLMResponse, messages: tuple[Message, ...] | None) -> TurnAnswer:
    """The answer that a reply is. `messages` are those of a run, the request's included."""
    if messages is None:
        plain = reply.parts == (Text(reply.content),)
        return TurnAnswer(
            reply, (Message("assistant", reply.content if plain else reply.parts),) if reply.parts else ()
        )
    return TurnAnswer(reply, messages[len(request.messages) :])


def left(until: float | None) -> float | None:
    """The seconds until a time of the loop, and a thousandth at least; None: there is no limit."""
    return None if until is None else max(0.001, until - asyncio.get_running_loop().time())
