"""Requests of a conversation: what of its log the model is shown, and the answer, with or without tools."""

from functools import cached_property
from typing import Any, NamedTuple

from msgspec.structs import replace

from three_mode.conversations.compaction import shown
from three_mode.conversations.counting import EstimatedCount, LocalCount, TokenCounter
from three_mode.conversations.fitting import Fitting, Measure, left
from three_mode.conversations.hooks import told
from three_mode.conversations.items import WindowItems, items_of
from three_mode.conversations.kept_log import KeptLog
from three_mode.conversations.log import TurnRecord
from three_mode.conversations.shared import Shared, TalkSetup
from three_mode.conversations.summaries import Summaries
from three_mode.conversations.turn_model import TurnModel
from three_mode.conversations.turn_rounds import TurnRounds
from three_mode.conversations.window import WindowItem
from three_mode.messages import LLMRequest, LLMResponse, Message, Step, Text, Tool
from three_mode.tools import RunReply, Tools


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
        self._measure = Measure()
        self._beside_of: tuple[TokenCounter, tuple[Tool, ...], int] | None = None

    async def turn(self, record: TurnRecord, fields: dict[str, Any], until: float | None) -> TurnModel:
        """Who answers a turn, which ends at `until`. `fields` are more fields of the request."""
        options, window = self._setup.options, self._setup.options.window
        fields = {"model": self._setup.model, "max_tokens": options.max_tokens, **fields}
        fields["metadata"] = {"conversation": self._kept.name, **fields.get("metadata", {})}
        tools = self._run_tools
        if tools is not None:
            fields.setdefault("tools", tools.specs)
        asked = LLMRequest(messages=record.said, within=left(until), **fields)
        counter = await self._counter(asked.model)
        beside = await self._beside(counter, asked.tools)
        limit = await counter.limit(window.tokens, asked.max_tokens)
        items = await self._items(counter, limit - beside, until)
        system = await self._system(counter)
        now, steps = await self._said(counter, record, items)
        fitting = Fitting(
            system, now, limit=limit, beside=beside, window=window, counter=counter, measure=self._measure
        )
        rounds = TurnRounds(self._kept, record) if tools is not None else None
        first = await fitting.shown(replace(asked, within=left(until)))
        return TurnModel(self._shared.model, fitting, first, rounds, steps)

    async def answer(self, turn: TurnModel) -> TurnAnswer:
        """The answer to a turn."""
        if self._tools is None:
            return answer_of(turn, await turn.chat_completion(turn.request))
        if self._run_tools is not None:
            run = self._shared.model.run(turn.request, self._run_tools, asked=turn, **self._limits(turn))
            return answer_of(turn, await run)
        ran = await self._tools.run(turn.request)
        reply = ran if isinstance(ran, LLMResponse) else ran.reply
        return TurnAnswer(turn.complete(reply), tuple(ran.messages)[len(turn.request.messages) :])

    def stream(self, turn: TurnModel) -> Any:
        """The answer in chunks, or as events of a run."""
        if self._tools is None:
            return turn.stream(turn.request)
        tools = Tools.of(self._run_tools or self._tools)
        return self._shared.model.run_stream(turn.request, tools, asked=turn, **self._limits(turn))

    @property
    def _tools(self) -> Any:
        """The tools of the conversation, where they are to be used."""
        return self._setup.tools if self._setup.options.use_tools else None

    @cached_property
    def _run_tools(self) -> Tools | None:
        """They, where the run is ours: an object with a `run` of its own keeps nothing round by round."""
        if self._tools is None or hasattr(self._tools, "run"):
            return None
        options = self._setup.options
        limits = {"at_once": options.tools_at_once, "most_calls": options.most_calls}
        return replace(Tools.of(self._tools), **{name: most for name, most in limits.items() if most is not None})

    def _limits(self, turn: TurnModel) -> dict[str, Any]:
        options = self._setup.options
        return {"most_rounds": options.most_rounds, "within": turn.request.within, "budget": options.budget}

    def begin_anew(self) -> None:
        """Forget with which turn the window began: turns were taken back, and older ones may fit again."""
        self._measure.begins = 0

    async def count(self) -> int:
        """Count what was not counted yet; the most tokens of a window."""
        window = self._setup.options.window
        counter = await self._counter(self._setup.model)
        await self._count(counter)
        return await counter.limit(window.tokens, self._setup.options.max_tokens)

    # The window

    async def _beside(self, counter: TokenCounter, tools: tuple[Tool, ...]) -> int:
        """The tokens of the tools' descriptions, counted once."""
        if self._beside_of is None or self._beside_of[:2] != (counter, tools):
            self._beside_of = (counter, tools, await counter.beside(tools))
        return self._beside_of[2]

    async def _said(
        self, counter: TokenCounter, record: TurnRecord, items: WindowItems
    ) -> tuple[list[WindowItem], tuple[Step, ...]]:
        """The items, and what is being said now with what the memory knows about it; and what it left out of that."""
        memory = self._setup.memory if self._setup.options.use_memory else None
        if memory is None:
            return items.items, ()
        recalled = await memory.recalled(record.said)
        said, steps = tuple(recalled), tuple(getattr(recalled, "steps", ()))
        counts = await counter.counts(said)
        now = [WindowItem(message, count, True) for message, count in zip(said, counts, strict=True)]
        begin = len(items.items) - len(record.messages)
        return items.items[:begin] + now + items.items[begin + len(record.said) :], steps

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
        return items_of(log, limit, self._setup.options.window.keep_first, tokens, self._measure.begins)

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
            self._measure = Measure()
            for record in self._kept.log.records.values():
                record.count(None)
        return counter


def answer_of(turn: TurnModel, reply: LLMResponse) -> TurnAnswer:
    """The answer that a reply is: with what of a run is not kept yet."""
    if isinstance(reply, RunReply):
        more = reply.messages[len(turn.request.messages) :]
        return TurnAnswer(reply, turn.rounds.rest(more) if turn.rounds is not None else more)
    plain = reply.parts == (Text(reply.content),)
    return TurnAnswer(reply, (Message("assistant", reply.content if plain else reply.parts),) if reply.parts else ())
