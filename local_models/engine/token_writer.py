"""Token writer: samples the tokens of a step, and adds them to the texts of the scheduler and to what readers get."""

import time
from collections.abc import Sequence

from local_models.engine.batching import token_score
from local_models.engine.cache import KvCache
from local_models.engine.calls import OpenCalls
from local_models.engine.tickets import Ticket
from local_models.errors import EngineFailed, LocalModelError
from local_models.llama import Floats, Weights
from local_models.replies import Finish, Piece
from local_models.scheduling.plan import Row


class TokenWriter:
    """Writes the answers of one engine, on its thread."""

    def __init__(self, weights: Weights, cache: KvCache, calls: OpenCalls) -> None:
        self._weights, self._cache, self._calls = weights, cache, calls
        self._scheduler, self._handover = cache.scheduler, calls.handover

    def write(self, sampled: Sequence[Row], places: Sequence[int]) -> None:
        """Samples tokens for each call whose text is computed to its end, and adds them to the text."""
        context, tickets = self._cache.context, self._calls.tickets
        logits = context.logits(len(places))
        any_greedy = any(tickets[row.call].sampler is None for row in sampled)
        likeliest: list[int] = logits.argmax(axis=1).tolist() if any_greedy else []
        now, at = time.monotonic(), 0
        for row in sampled:
            slot, proposed = row.call.slot, row.proposed
            self._write_row(row, at, places, logits, likeliest, now)
            at += 1 + len(proposed)
            if proposed and not context.keep(slot, row.call.computed):  # what was not accepted
                raise EngineFailed("this model cannot forget a part of a text", hint='load it with speculate="off"')

    def _write_row(
        self, row: Row, at: int, places: Sequence[int], logits: Floats, likeliest: Sequence[int], now: float
    ) -> None:
        """Samples a token of one call, and one more behind each proposed token that is what was sampled for its place.

        Each token is sampled by the call's own sampler, in order, from the scores behind exactly the tokens that the
        call has: with seed, penalties and grammar it is the same token as without any proposals.
        """
        call, ends = row.call, self._weights.ends
        calls, scheduler = self._calls, self._scheduler
        ticket = calls.tickets[call]
        for index, proposed in enumerate((*row.proposed, -1), at):
            try:
                token = (
                    likeliest[index]
                    if ticket.sampler is None
                    else ticket.sampler.sample(self._cache.context, places[index], logits[index])
                )
            except LocalModelError as error:
                calls.fail(ticket, error)
                return
            if not ticket.first_token:
                ticket.first_token = now
                self._handover.begins()
                calls.totals.reused_tokens += call.reused
            if token in ends:
                calls.finish(ticket, "stop")
                return
            scheduler.write(call, token)
            last = call.written >= call.room
            if ticket.whole_only:  # no reader of pieces: the text is made at the end
                finish: Finish | None = "length" if last else None
            else:
                finish = self.add_piece(ticket, token, logits[index], last)
            if finish is not None:
                calls.finish(ticket, finish)
                return
            if token != proposed:
                return
            scheduler.accept(call)
            calls.totals.accepted_tokens += 1

    def add_piece(self, ticket: Ticket, token: int, logits: Floats, last: bool) -> Finish | None:
        """Hands over the piece of a token, or holds it for the last one; returns how the call ends, if so."""
        text = ticket.text.feed(self._weights.piece(token) or ticket.sampling.shown.get(token, b""))
        wanted = ticket.options.logprobs
        scores = (token_score(self._weights, token, logits, wanted),) if wanted >= 0 else ()
        stopped = ticket.text.stopped
        if ticket.pieces and not stopped and not last:
            self._handover.add(ticket, Piece(text=text, tokens=(token,), scores=scores))
            return None
        ticket.held_text.append(text)
        ticket.held_tokens.append(token)
        ticket.held_scores += scores
        if stopped:
            return "stop"
        return "length" if last else None
