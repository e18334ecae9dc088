"""Stretch: consecutive steps in which the same calls each write a token, as in most steps of a busy engine.

A step of a stretch takes a few vector operations for all calls together. Work for a single call is needed only where
its pieces are streamed or a chain of samplers chooses its tokens. The tokens stay in one array until the scheduler
records them at the end of the stretch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from local_models.engine.batching import fillers, place_fillers
from local_models.engine.tickets import Ticket
from local_models.errors import LocalModelError
from local_models.llama import Context, Floats, Weights
from local_models.replies import Finish
from local_models.scheduling.plan import Row

LONGEST = 256  # steps
Show = Callable[[Ticket, int, Floats, bool], Finish | None]
"""Adds the piece of a token, given its logits and whether it is the last; returns how the call ends, if it does."""


@dataclass(frozen=True, slots=True)
class End:
    """End of a call in a stretch."""

    outcome: Finish | LocalModelError
    in_text: bool  # whether the token of the last step belongs to the text


class Stretch:
    """Runs `step` after every decode of `count` tokens, until there are `ends` or `most` steps were made."""

    def __init__(
        self, weights: Weights, context: Context, rows: Sequence[Row], tickets: Sequence[Ticket], most: int
    ) -> None:
        self._weights, self._context = weights, context
        calls = [row.call for row in rows]
        self.count = count = len(calls)
        self.most = min(most, LONGEST)
        self.steps = 0
        self.ends: dict[int, End] = {}
        self._written = np.empty((self.most, count), np.int32)
        self._samplers = [(at, ticket.sampler) for at, ticket in enumerate(tickets) if ticket.sampler]
        self._streamed = [
            (at, ticket, call.room - call.written)
            for at, (ticket, call) in enumerate(zip(tickets, calls, strict=True))
            if not ticket.whole_only
        ]
        slots = [call.slot for call in calls]
        self.fillers = fillers(context, slots)
        self._places: Any = slice(count)  # of the calls in the batch
        if self.fillers:
            self._places = place_fillers(context, slots, self.fillers)
        self._rows: Sequence[int] = self._places if self.fillers else range(count)
        context.tokens[self._places] = [call.tokens[call.computed] for call in calls]
        context.positions[self._places] = [call.computed - call.lag for call in calls]
        context.sequence[self._places] = slots
        context.wanted[self._places] = 1

    def step(self, show: Show) -> None:
        """Samples a token for each call, and fills the batch of the next step."""
        logits = self._context.logits(self.count)
        row = self._written[self.steps]
        if len(self._samplers) < self.count:
            row[:] = logits.argmax(axis=1)
        for at, sampler in self._samplers:
            try:
                row[at] = sampler.sample(self._context, self._rows[at], logits[at])
            except LocalModelError as error:
                self.ends[at] = End(error, in_text=False)
        tokens = row.tolist()
        if not self._weights.ends.isdisjoint(tokens):
            for at, token in enumerate(tokens):
                if token in self._weights.ends and at not in self.ends:
                    self.ends[at] = End("stop", in_text=False)
        self.steps += 1
        for at, ticket, left in self._streamed:
            if at not in self.ends:
                finish = show(ticket, tokens[at], logits[at], self.steps >= left)
                if finish is not None:
                    self.ends[at] = End(finish, in_text=True)
        self._context.tokens[self._places] = row
        self._context.positions[self._places] += 1

    @property
    def done(self) -> bool:
        """Whether a call has ended, or the stretch has all its steps."""
        return bool(self.ends) or self.steps >= self.most

    def written(self) -> list[list[int]]:
        """Returns the tokens that each call has written."""
        columns: list[list[int]] = self._written[: self.steps].T.tolist()
        for at, end in self.ends.items():
            if not end.in_text:
                columns[at].pop()
        return columns
