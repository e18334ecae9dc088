"""A stretch of steps in which the same calls write on and nothing else happens: most steps of a busy engine.

A step here takes a few vector operations for all calls together, and something for each only where somebody reads along or
a chain of samplers chooses. What was written stays in one array; the scheduler hears of it when the stretch is over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from local_models.engine.tickets import Ticket
from local_models.errors import LocalModelError
from local_models.llama import Context, Floats, Weights
from local_models.replies import Finish
from local_models.scheduling.scheduler import Row

LONGEST = 256  # steps
Show = Callable[[Ticket, int, Floats, bool], Finish | None]  # a token's piece, the call's last one or not


@dataclass(frozen=True, slots=True)
class End:
    """How a call ended, and whether the token of its last step belongs to its text."""

    how: Finish | LocalModelError
    told: bool


class Stretch:
    """`step` after every decode of `count` tokens, until there are `ends`, or as many steps as `most`."""

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
        self._choosers = [(at, ticket.sampler) for at, ticket in enumerate(tickets) if ticket.sampler]
        self._readers = [
            (at, ticket, call.room - call.written)
            for at, (ticket, call) in enumerate(zip(tickets, calls, strict=True))
            if not ticket.quiet
        ]
        self._tokens, self._positions = context.tokens[:count], context.positions[:count]
        self._tokens[:] = [call.tokens[call.computed] for call in calls]
        self._positions[:] = [call.computed for call in calls]
        context.sequence[:count] = [call.slot for call in calls]
        context.wanted[:count] = 1

    def step(self, show: Show) -> None:
        """Takes a token for each call, and lays the next step out."""
        logits = self._context.logits(self.count)
        row = self._written[self.steps]
        if len(self._choosers) < self.count:
            row[:] = logits.argmax(axis=1)
        for at, sampler in self._choosers:
            try:
                row[at] = sampler.sample(self._context, at, logits[at])
            except LocalModelError as error:
                self.ends[at] = End(error, told=False)
        tokens = row.tolist()
        if not self._weights.ends.isdisjoint(tokens):
            for at, token in enumerate(tokens):
                if token in self._weights.ends and at not in self.ends:
                    self.ends[at] = End("stop", told=False)
        self.steps += 1
        for at, ticket, left in self._readers:
            if at not in self.ends:
                finish = show(ticket, tokens[at], logits[at], self.steps >= left)
                if finish is not None:
                    self.ends[at] = End(finish, told=True)
        self._tokens[:] = row
        self._positions += 1

    @property
    def over(self) -> bool:
        return bool(self.ends) or self.steps >= self.most

    def written(self) -> list[list[int]]:
        """What each call has written."""
        columns: list[list[int]] = self._written[: self.steps].T.tolist()
        for at, end in self.ends.items():
            if not end.told:
                columns[at].pop()
        return columns
