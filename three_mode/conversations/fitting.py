"""Requests of one turn, each with as much of the conversation as fits.

What fits is known by counts: those of messages, where they are estimates also what the provider counts before the call,
and at last what it says when it refuses. What was learned so holds for the next turns too.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from three_mode.conversations.counting import TokenCounter
from three_mode.conversations.window import Window, WindowItem, WindowView, fit, settle
from three_mode.errors import ContextLength
from three_mode.messages import LLMRequest, Message

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
        self._more: list[WindowItem] = []

    async def shown(self, request: LLMRequest, more: Sequence[Message] = ()) -> Shown:
        """The request with the messages that fit; `more` are those that came in this turn, which all stay."""
        fresh = more[len(self._more) :]
        if fresh:
            counts = await self._counter.counts(fresh)
            self._more += [WindowItem(message, count, True) for message, count in zip(fresh, counts, strict=True)]
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
        items, measure = [*self._items, *self._more], self._measure
        tokens = int(min(self._limit / measure.ratio, measure.most)) - self._beside
        exact: int | None = None
        for _ in range(_REFITS):
            view = self._settled(items, tokens)
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

    def _settled(self, items: list[WindowItem], tokens: int) -> WindowView:
        """What fits; where the limit is what was learned and not what was set, at least what has to stay."""
        try:
            return settle(self._system, items, tokens, self._window)
        except ContextLength:
            learned = self._measure.ratio > 1.0 or self._measure.most < self._limit
            if not learned:
                raise
            view = fit(self._system, items, _NO_LIMIT, 0, self._window.keep_first)
            if self._measure.ratio == 1.0 and view.tokens + self._beside > self._limit:
                raise
            return view._replace(crowded=True)


def left(until: float | None) -> float | None:
    """The seconds until a time of the loop, and a thousandth at least; None: there is no limit."""
    return None if until is None else max(0.001, until - asyncio.get_running_loop().time())
