"""Requests of one turn, each with as much of the conversation as fits.

What fits is known by counts: those of messages, where they are estimates also what the provider counts before the call,
and at last what it says when it refuses. What was learned so holds for the next turns too.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from three_mode.conversations.counting import TokenCounter
from three_mode.conversations.shortening import LEAST, cut_to, lengths, level
from three_mode.conversations.window import Window, WindowItem, WindowView, fit, settle
from three_mode.errors import ContextLength
from three_mode.messages import LLMRequest, Message, Step

_REFITS = 8  # of a window whose exact count is above its limit
_NO_LIMIT = 1 << 60  # tokens
_SLACK = 16  # tokens that a refit takes off beside the excess
_MARGIN = 0.97  # of what a refusal says that fits: the provider counts a template too
_NO_NUMBERS = 0.75  # of a refused window that is tried next, where the refusal does not say what fits


class Measure:
    """What is known about the windows of one model in one conversation, from turn to turn."""

    def __init__(self) -> None:
        self.ratio = 1.0  # of an exact count to the sum of the counts, where it is above that
        self.most = _NO_LIMIT  # counted tokens of a request, as refusals have shown
        self.begins = 0  # the turn that the last window began with


class Shown(NamedTuple):
    """A request, and what is counted in it."""

    request: LLMRequest
    tokens: int  #: of the messages and of what stands beside them
    view: WindowView


class Fitting:
    """Fits the messages of one turn into a window.

    `limit` is the most tokens of a prompt, `beside` those of what is no message in it: descriptions of tools.
    """

    def __init__(
        self,
        system: Sequence[WindowItem],
        items: Sequence[WindowItem],
        *,
        limit: int,
        beside: int,
        window: Window,
        counter: TokenCounter,
        measure: Measure,
    ) -> None:
        self._system, self._items = system, items
        self._limit, self._beside, self._window = limit, beside, window
        self._counter, self._measure = counter, measure
        self._came: list[Message] = []  # in this turn, as they are
        self._more: list[WindowItem] = []  # and as they are shown
        self._longest: int | None = None  # characters of a result that are shown; None: all
        self._steps: list[Step] = []  # what was shortened

    async def shown(self, request: LLMRequest, more: Sequence[Message] = ()) -> Shown:
        """The request with the messages that fit; `more` are those that came in this turn, which all stay."""
        fresh = more[len(self._came) :]
        self._came += fresh
        await self._add(fresh)
        return await self.again(request)

    async def again(self, request: LLMRequest) -> Shown:
        """The request with the messages that fit by now."""
        if self._beside >= self._limit:
            raise ContextLength(
                f"the tools alone are {self._beside} tokens; the window has {self._limit}",
                field="tools",
                hint="give fewer tools, or Window(tokens=) more",
                tokens=self._beside,
                room=self._limit,
            )
        measure = self._measure
        tokens = int(min(self._limit / measure.ratio, measure.most)) - self._beside
        exact: int | None = None
        for _ in range(_REFITS):
            view = await self._settled(tokens)
            counted = view.tokens + self._beside
            asked = replace(request, messages=view.messages)
            exact = await self._counter.total(asked)
            if exact is not None:
                measure.ratio = max(1.0, exact / max(1, counted))
            if exact is None or exact <= self._limit:
                measure.begins = view.begins if view.crowded else measure.begins
                return Shown(asked, counted, view)
            tokens = min(tokens, view.tokens, int(self._limit / measure.ratio) - self._beside) - _SLACK
        raise ContextLength(
            f"the window of {self._limit} tokens cannot hold what has to stay, which is {exact}",
            field="messages",
            hint="shorten the message or the system message, pin less, give fewer tools, or Window(tokens=) more",
            tokens=exact,
            room=self._limit,
        )

    def tighten(self, refused: Shown, error: ContextLength) -> None:
        """Take in that a request was refused."""
        sent, room = error.tokens, error.room
        if sent is None or room is None or not 0 < room < sent:
            most = int(refused.tokens * _NO_NUMBERS)
        else:
            most = refused.tokens * room // sent
            without_excess = refused.tokens - (sent - room)  # where `sent` has the tokens of the answer in it
            if most // 2 < without_excess:
                most = min(most, without_excess)
            most = int(most * _MARGIN) - _SLACK
        self._measure.most = max(1, most)

    def take_steps(self) -> list[Step]:
        """What was shortened since the last time, to be said with the next reply."""
        steps, self._steps = self._steps, []
        return steps

    async def _settled(self, tokens: int) -> WindowView:
        """What fits. Where what has to stay is too much, results of this turn's tools are shown shorter; and where the
        limit is what was learned and not what was set, it is at least what has to stay."""
        for _ in range(_REFITS):
            try:
                return settle(self._system, [*self._items, *self._more], tokens, self._window)
            except ContextLength as error:
                refused = error
            if refused.tokens is None or not await self._shorten(refused.tokens - tokens):
                break
        if self._measure.ratio == 1.0 and self._measure.most >= self._limit:
            raise refused
        view = fit(self._system, [*self._items, *self._more], _NO_LIMIT, 0, self._window.keep_first)
        if self._measure.ratio == 1.0 and view.tokens + self._beside > self._limit:
            raise refused
        return view._replace(crowded=True)

    async def _shorten(self, excess: int) -> bool:
        """Show results of this turn's tools with so many tokens less; False: they are as short as can be."""
        sizes = [min(size, self._longest or size) for size in lengths(self._came)]
        tokens = sum(item.tokens for item in self._more if item.message.role == "tool")
        if not tokens or max(sizes) <= LEAST:
            return False
        self._longest = level(sizes, int(excess * sum(sizes) / tokens) + _SLACK)
        shown, self._more = sum(min(size, self._longest) for size in sizes), []
        await self._add(self._came)
        why = f"results of tools: {shown} of {sum(lengths(self._came))} characters fit the window"
        self._steps = [Step("left_out", why=why)]
        return True

    async def _add(self, messages: Sequence[Message]) -> None:
        if messages:
            shown = [message if self._longest is None else cut_to(message, self._longest) for message in messages]
            counts = await self._counter.counts(shown)
            self._more += [WindowItem(message, count, True) for message, count in zip(shown, counts, strict=True)]


def left(until: float | None) -> float | None:
    """The seconds until a time of the loop, and a thousandth at least; None: there is no limit."""
    return None if until is None else max(0.001, until - asyncio.get_running_loop().time())
