"""Rounds of the turn that is being answered: each is written before what follows from it."""

import asyncio
from collections.abc import Sequence

from three_mode.conversations.entries import Cut
from three_mode.conversations.kept_log import KeptLog
from three_mode.conversations.log import TurnRecord
from three_mode.conversations.rounds import ending, gone_on
from three_mode.conversations.store import Draft, round_draft
from three_mode.messages import LLMResponse, Message


class TurnRounds:
    """Writes the rounds of one turn. A turn without tools has none."""

    def __init__(self, kept: KeptLog, record: TurnRecord) -> None:
        self._kept, self._turn = kept, record.number
        self.messages = record.rounds  #: all that is kept, those of before a crash included
        self._done = 0  # messages of this run that are kept
        self._waiting: Message | None = None  # the call that is kept behind them

    async def called(self, reply: LLMResponse) -> None:
        """Keep the calls of tools of a reply, before they run."""
        if reply.tool_calls:
            call = Message("assistant", reply.parts)
            await self._write((call,))
            self._waiting = call

    async def went_on(self, more: Sequence[Message]) -> None:
        """Keep what came in this turn so far, before the model is asked again."""
        fresh = self.rest(more)
        if fresh:
            await self._write(fresh)
        self._done, self._waiting = len(more), None

    def rest(self, more: Sequence[Message]) -> tuple[Message, ...]:
        """What of the messages of this run is not kept yet."""
        fresh = tuple(more[self._done :])
        return fresh[1:] if fresh and fresh[0] == self._waiting else fresh

    async def _write(self, messages: tuple[Message, ...]) -> None:
        self.messages = gone_on(self.messages, messages)
        written = self._kept.write([round_draft(self._turn, messages)])
        await asyncio.shield(asyncio.ensure_future(written))


def cut_drafts(turn: int, kept: tuple[Message, ...], why: str) -> list[Draft]:
    """The rows that end a turn without an answer. Where tools were called it stays in the conversation, with what is
    known of them: the model would else call them again for the next question."""
    if not kept:
        return [Draft(turn, Cut(why))]
    return [round_draft(turn, ending(kept, why)), Draft(turn, Cut(why, stays=True))]
