"""Items of a window out of a log: what of a conversation may be shown, in order. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from three_mode.conversations.compaction import shown
from three_mode.conversations.log import TalkLog, TurnRecord
from three_mode.conversations.window import WindowItem


class WindowItems(NamedTuple):
    """What may be shown."""

    items: list[WindowItem]
    tokens: int  #: of all turns that no summary stands for, as far as they were looked at
    messages: int  #: as many
    used: frozenset[int]  #: numbers of the turns among the items
    first_turns: int  #: number of the last turn that has one of the first messages; 0: none


def items_of(log: TalkLog, limit: int, first: int, summary_tokens: int, begins: int = 0) -> WindowItems:
    """The items, the newest turn last. Turns that are too old for `limit` tokens are left out, unless they stay.

    All turns have their counts. The last turn is being said now, and stays. `first` is how many first messages stay.
    `begins` is the turn that the window began with so far.
    """
    live = log.live()
    summary = log.summary
    covered = (summary.first, summary.last) if summary is not None else (0, -1)
    beginning, begun = [], 0
    for record in live:
        if begun >= first:
            break
        beginning.append(record)
        begun += len(record.messages)
    rest: list[TurnRecord] = []
    tokens = messages = 0
    for record in reversed(live[len(beginning) :]):
        stands = covered[0] <= record.number <= covered[1]
        if not stands:
            tokens += record.tokens
            messages += len(record.messages)
        fits = not stands and record.number >= begins and tokens - record.tokens <= limit
        if fits or (log.pins and log.pinned(record)):
            rest.append(record)
    rest.reverse()
    items = _all(beginning, log, live[-1])
    if summary is not None:
        items.append(WindowItem(shown(summary), summary_tokens, True))
    items += _all(rest, log, live[-1])
    used = frozenset(record.number for record in [*beginning, *rest])
    return WindowItems(items, tokens, messages, used, beginning[-1].number if beginning else 0)


def _all(records: Sequence[TurnRecord], log: TalkLog, now: TurnRecord) -> list[WindowItem]:
    items: list[WindowItem] = []
    for record in records:
        if record is now or (log.pins and log.pinned(record)):
            items += _items(record, True)
        else:
            if record.items is None:
                record.items = tuple(_items(record, False))
            items += record.items
    return items


def _items(record: TurnRecord, stays: bool) -> list[WindowItem]:
    counts = record.counts or ()
    return [
        WindowItem(message, count, stays, record.number) for message, count in zip(record.messages, counts, strict=True)
    ]
