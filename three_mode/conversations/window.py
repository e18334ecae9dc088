"""Window: the part of a conversation that one request shows to the model. Pure.

The log keeps everything; the window is a view on it, and never has more than its tokens. A call of a tool and its
results are one unit: they are shown together or left out together. Units are left out from the oldest on; the system
message, the first and the pinned ones, and what is being said now stay. Order is never changed.
"""

from collections.abc import Sequence
from typing import NamedTuple

from three_mode.errors import ConfigurationError, ContextLength, InvalidRequest
from three_mode.frozen_options import FrozenOptions
from three_mode.messages import Message, ToolCall, ToolResult

SPARE = 0.25  # share of a full window that is made free at once


class Window(FrozenOptions, frozen=True, kw_only=True):
    """How much of a conversation each request shows."""

    tokens: int = 8000  #: most tokens of the messages of one request; a model with less context lowers it
    messages: int | None = None  #: most messages of one request, beside the system message; None: no limit
    keep_first: int = 0  #: first messages of the conversation that always stay
    compact_at: float = 0.8  #: share of `tokens` from which older turns are summarised, where a model is named for it
    margin: float = 0.1  #: share that is added to a count that is an estimate
    exact: bool = False  #: asks the provider's counting endpoint before each call, where it has one

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.keep_first < 0 or (self.messages is not None and self.messages < 1):
            raise ConfigurationError("a window has at least 1 token and 1 message, and keep_first is at least 0")
        if not 0 < self.compact_at <= 1 or not 0 <= self.margin < 10:
            raise ConfigurationError("compact_at is a share above 0 and at most 1, margin a share of at least 0")


class WindowItem(NamedTuple):
    """A message of a conversation, with what it counts."""

    message: Message
    tokens: int
    stays: bool = False  #: whether it is never left out
    turn: int = 0  #: the turn that it belongs to


class WindowView(NamedTuple):
    """What fits."""

    messages: tuple[Message, ...]
    tokens: int  #: of them together
    left_out: int  #: how many messages do not fit, or belong to a call of a tool that is not whole
    crowded: bool = False  #: whether messages did not fit
    begins: int = 0  #: the turn with which those begin that need not stay; 0: there are none


class _Unit(NamedTuple):
    first: int
    last: int  # both included
    tokens: int
    stays: bool
    whole: bool  # every call has its result, every result its call


def fit(
    system: Sequence[WindowItem], items: Sequence[WindowItem], tokens: int, most: int | None = None, first: int = 0
) -> WindowView:
    """The messages to send: the system's, and as many of the items, from the newest back, as the limits allow.

    `tokens` is the limit, `most` that of messages beside the system's, `first` how many of the first items stay. The
    last item is what is being said now, which stays. Raises ContextLength where what stays is too much.
    """
    pairs = _pairs(items)
    total = sum([item.tokens for item in system]) + sum([item.tokens for item in items])
    if total <= tokens and not pairs.broken and (most is None or len(items) <= most):  # most windows
        everything = [item.message for item in system] + [item.message for item in items]
        return WindowView(tuple(_without_neighbours(everything)), total, 0)
    units = _units(items, first, pairs)
    if units and not units[-1].whole:
        raise InvalidRequest(
            "the results that are said do not match the calls of the last answer",
            field="messages",
            hint="say one result for each call, with its id",
        )
    kept = {number for number, unit in enumerate(units) if unit.stays and unit.whole}
    room = tokens - sum(item.tokens for item in system) - sum(units[number].tokens for number in kept)
    free = (len(items) if most is None else most) - sum(_size(units[number]) for number in kept)
    if room < 0:
        raise ContextLength(
            f"what has to stay is {tokens - room} tokens; the window has {tokens}",
            field="messages",
            hint="shorten the message or the system message, pin less, or give Window(tokens=) more",
            tokens=tokens - room,
            room=tokens,
        )
    tail: list[int] = []
    crowded = False
    for number in reversed(range(len(units))):
        unit = units[number]
        if number in kept or not unit.whole:
            continue
        room, free = room - unit.tokens, free - _size(unit)
        if room < 0 or free < 0:
            crowded = True
            break
        tail.append(number)
    tail = _from_a_question(tail[::-1], units, items)
    kept.update(tail)
    shown = [items[at] for number in sorted(kept) for at in range(units[number].first, units[number].last + 1)]
    used = [*system, *shown]
    messages = tuple(_without_neighbours([item.message for item in used]))
    begins = items[units[tail[0]].first].turn if tail else 0
    return WindowView(messages, sum(item.tokens for item in used), len(items) - len(shown), crowded, begins)


def settle(system: Sequence[WindowItem], items: Sequence[WindowItem], tokens: int, window: Window) -> WindowView:
    """`fit`, with room to grow: where not all fits, older turns are left out until some of the window is free.

    The next turns then begin with the same messages, which a provider's prompt cache and a local model's KV cache know.
    """
    view = fit(system, items, tokens, window.messages, window.keep_first)
    if not view.crowded:
        return view
    most = None if window.messages is None else max(1, int(window.messages * (1 - SPARE)))
    try:
        return fit(system, items, int(tokens * (1 - SPARE)), most, window.keep_first)._replace(crowded=True)
    except ContextLength:
        return view


def _size(unit: _Unit) -> int:
    return unit.last - unit.first + 1


def _from_a_question(tail: list[int], units: Sequence[_Unit], items: Sequence[WindowItem]) -> list[int]:
    """The tail without the answers it begins with, where their question is left out: some models want a question
    first."""
    if not tail or tail[0] == 0:
        return tail
    for place, number in enumerate(tail):
        if items[units[number].first].message.role == "user" or units[number - 1].stays:
            return tail[place:]
    return []


class _Pairs(NamedTuple):
    last_of: dict[int, int]  # message with calls -> message with the last result of them
    broken: set[int]  # messages with a call that has no result, or with a result that has no call


def _pairs(items: Sequence[WindowItem]) -> _Pairs:
    """Which messages hold calls of tools, and which their results."""
    asked: dict[str, int] = {}  # call without a result so far -> its message
    last_of: dict[int, int] = {}
    stray: set[int] = set()
    for at, item in enumerate(items):
        content = item.message.content
        if type(content) is str:
            continue
        answers: set[str] = set()
        for part in content:
            if isinstance(part, ToolCall):
                if part.id in asked:
                    stray.add(asked[part.id])
                asked[part.id] = at
                last_of.setdefault(at, at)
            elif isinstance(part, ToolResult):
                answers.add(part.call_id)
        for answered in answers:
            call = asked.pop(answered, None)
            if call is None:
                stray.add(at)
            else:
                last_of[call] = max(last_of[call], at)
    return _Pairs(last_of, stray.union(asked.values()))


def _units(items: Sequence[WindowItem], first: int, pairs: _Pairs) -> list[_Unit]:
    """Groups of messages that belong together, in order: a call, its results, and what stands between them."""
    units: list[_Unit] = []
    at, last = 0, len(items) - 1
    while at <= last:
        end, reach = at, at
        while reach <= end:
            end = max(end, pairs.last_of.get(reach, reach))
            reach += 1
        group = items[at : end + 1]
        stays = at < first or end == last or any(item.stays for item in group)
        whole = pairs.broken.isdisjoint(range(at, end + 1))
        units.append(_Unit(at, end, sum(item.tokens for item in group), stays, whole))
        at = end + 1
    return units


def _without_neighbours(messages: Sequence[Message]) -> list[Message]:
    """Joins messages of a person that have become neighbours: some models want person and model to take turns."""
    joined: list[Message] = []
    user = False  # whether the message before is one of a person
    for message in messages:
        if message.role != "user":
            user = False
        elif not user:
            user = True
        else:
            before = joined[-1]
            if before.name == message.name:
                joined[-1] = _joined(before, message)
                continue
        joined.append(message)
    return joined


def _joined(before: Message, message: Message) -> Message:
    if isinstance(before.content, str) and isinstance(message.content, str):
        return Message("user", f"{before.content}\n\n{message.content}", message.name)
    return Message("user", before.parts + message.parts, message.name)
