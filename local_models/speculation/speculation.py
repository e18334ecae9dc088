"""Speculation of an engine: proposes the next tokens of its calls, as many as pay by what steps were measured to cost.

A token is computed in most of the time of several, as long as few calls run. So the engine puts tokens into a step that
it guesses to come next, and samples behind each as if it had been written, until a sample is another token than the
guess. What is written does not depend on the guesses (see `TokenWriter`), only how soon.

To look for guesses takes time of its own, and steps without any run faster in a stretch (`engine/stretch.py`). So the
engine rests from looking for some steps while it finds nothing, for as many as keep a look below a hundredth of their
time.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from local_models.scheduling.plan import Row, ScheduledCall, StepPlan
from local_models.speculation.acceptance import ModelAcceptance
from local_models.speculation.call_guess import CallGuess
from local_models.speculation.choice import (
    MOST,
    TRIAL_RATE,
    GuessOffer,
    LengthChoice,
    StepLayout,
    choose,
    could_gain,
    passes_of,
)
from local_models.speculation.real_gain import RealGain
from local_models.speculation.shared_table import SharedTable
from local_models.speculation.step_cost import StepCost

if TYPE_CHECKING:
    from local_models.speculation.draft import DraftModel

MOST_DRAFTED = 8  # tokens of a draft model for a call in a step
LOOK_SHARE = 0.01  # most part of the time for looks that find nothing
LONGEST_REST = 64  # steps
WORST_DRAFT = 0.3  # rate of a draft model below which its tokens are not computed
TRY_DRAFT = 64  # looks after which a draft model that was not worth it is tried again
RENEWED = 0.1  # weight of a new measurement of what a look takes


class Speculation:
    """Guesses of all calls of one engine.

    `ends` are the tokens that end an answer. `fixed` is a number of tokens that are proposed for each call at all
    times; 0: as many as pay. `draft` writes ahead where a text does not repeat what is known.
    """

    def __init__(
        self, layout: StepLayout, ends: frozenset[int], fixed: int = 0, draft: "DraftModel | None" = None
    ) -> None:
        self._layout, self._ends, self._fixed, self._draft = layout, ends, fixed, draft
        self._cost = StepCost()
        self._acceptance = ModelAcceptance()
        self._table = SharedTable()
        self._gain = RealGain()
        self._guesses: dict[ScheduledCall, CallGuess] = {}
        self._step_seconds = self._look_seconds = self._drafted_seconds = 0.0
        self._proposed_seconds = self._plain_seconds = 0.0  # of the last step with proposals, and of one without
        self._looks = 0
        self.rest = 0
        """Steps for which the engine may run the next stretch, before it looks again."""

    def propose(self, step: StepPlan, spare: int, threads: int = 1) -> None:
        """Adds proposed tokens to the rows of a step in which all calls write; at most `spare` together.

        `threads` compute the draft model.
        """
        rows = step.rows
        if not self._fixed and not (self._cost.measured and could_gain(len(rows), spare, self._cost.seconds)):
            return
        self._looks += 1
        guesses = [self._guess(row.call) for row in rows]
        offers = []
        for row, guess in zip(rows, guesses, strict=True):
            call = row.call
            guess.make(call.tokens, self._ends)
            space = max(min(call.room - call.written - 1, MOST), 0)
            if call.seeded and not self._fixed:  # scores of a wider step are rounded otherwise
                space = 0
            offers.append(GuessOffer(call.slot, space, min(len(guess.tokens), space), guess.rate))
        if self._draft is not None:
            offers = self._offer_drafts(self._draft, rows, guesses, offers)
        if not self._fixed and self._gain.pauses():
            return
        choice = self._choose(offers, spare)
        if choice is None:
            return
        if self._draft is not None:
            self._write_ahead(self._draft, rows, guesses, offers, choice, threads)
        for row, guess, length in zip(rows, guesses, choice.lengths, strict=True):
            row.proposed = guess.tokens[:length]
        if choice.filled:
            most = max(choice.lengths)
            for row in rows:
                row.proposed = [*row.proposed, *[row.call.tokens[-1]] * (most - len(row.proposed))]
        step.proposed = sum([len(row.proposed) for row in rows])

    def _choose(self, offers: Sequence[GuessOffer], spare: int) -> LengthChoice | None:
        if not any(offer.most for offer in offers):
            return None
        if not self._fixed:
            return choose(offers, spare, self._layout, self._cost, self._look_seconds)
        each = min(self._fixed, spare // len(offers))
        lengths = [min(each, offer.most) for offer in offers]
        return LengthChoice(lengths) if any(lengths) else None

    def _offer_drafts(
        self, draft: "DraftModel", rows: Sequence[Row], guesses: Sequence[CallGuess], offers: Sequence[GuessOffer]
    ) -> list[GuessOffer]:
        """Returns the offers, with those of the draft model where they are more often right than the others."""
        found = list(offers)
        again = self._looks % TRY_DRAFT == 0
        rates = [max(guess.draft_rate(), TRIAL_RATE if again or self._fixed else 0.0) for guess in guesses]
        better = [at for at, offer in enumerate(offers) if offer.space and (not offer.most or rates[at] > offer.rate)]
        if not better or max(rates[at] for at in better) < WORST_DRAFT:
            return found
        for at, follows in zip(better, draft.follows([rows[at].call for at in better]), strict=True):
            if follows:
                space = offers[at].space
                found[at] = GuessOffer(
                    offers[at].slot, space, min(space, MOST_DRAFTED), rates[at], draft.token_seconds, drafted=True
                )
        return found

    def _write_ahead(
        self,
        draft: "DraftModel",
        rows: Sequence[Row],
        guesses: Sequence[CallGuess],
        offers: Sequence[GuessOffer],
        choice: LengthChoice,
        threads: int,
    ) -> None:
        """Lets the draft model write the tokens that were chosen of its offers."""
        chosen = [
            at
            for at, (offer, length) in enumerate(zip(offers, choice.lengths, strict=True))
            if offer.drafted and length
        ]
        if not chosen:
            return
        calls, lengths = [rows[at].call for at in chosen], [choice.lengths[at] for at in chosen]
        for at, tokens in zip(chosen, draft.write_ahead(calls, lengths, threads), strict=True):
            end = next((place for place, token in enumerate(tokens) if token in self._ends), len(tokens))
            guesses[at].drafted(tokens[:end], rows[at].call.tokens)

    def _guess(self, call: ScheduledCall) -> CallGuess:
        guess = self._guesses.get(call)
        if guess is None:
            guess = self._guesses[call] = CallGuess(call.prompt, self._acceptance, self._table)
        return guess

    def withdraw(self, step: StepPlan) -> None:
        """Takes the proposed tokens out of a step for which there is no room with them."""
        for row in step.rows:
            row.proposed = ()
        step.proposed = 0
        self.rest = LONGEST_REST

    def forget(self, call: ScheduledCall) -> None:
        """Drops what is known of a call that has ended, but for what others may write too."""
        guess = self._guesses.pop(call, None)
        if guess is not None:
            guess.settle(call.tokens)
            guess.learn(call.tokens)

    def record_step(self, step: StepPlan, seconds: float) -> None:
        """Records the seconds of the decode of a step; its calls have their slots still."""
        if step.reads or step.riders:
            return
        if step.proposed:
            self._proposed_seconds = seconds
            self._plain_seconds = sum(map(self._cost.seconds, self._layout.plain_passes(self._slots(step.rows))))
            self._cost.record(self._passes(step.rows), seconds)
        else:
            self._record_plain(step.rows, seconds)

    def record_stretch(self, step: StepPlan, seconds: float) -> None:
        """Records the seconds of a decode in a stretch of the calls of a step; they have their slots still."""
        self._record_plain(step.rows, seconds)

    def record_look(self, step: StepPlan, written: int, beside: float) -> None:
        """Records the tokens that a step wrote and its seconds beside the decode; chooses how many steps to rest."""
        if step.reads or step.riders:
            return
        drafted = self._draft.spent if self._draft is not None else 0.0
        drafting, self._drafted_seconds = drafted - self._drafted_seconds, drafted
        self._look_seconds += RENEWED * (beside - drafting - self._look_seconds)
        if step.proposed:
            self.rest = 0
            self._gain.record(self._plain_seconds, written / len(step.rows), self._proposed_seconds + beside)
        else:
            longest = min(self._look_seconds / max(LOOK_SHARE * self._step_seconds, 1e-9), LONGEST_REST)
            self.rest = min(max(2 * self.rest, 1), int(longest))

    def _record_plain(self, rows: Sequence[Row], seconds: float) -> None:
        self._cost.record(self._layout.plain_passes(self._slots(rows)), seconds)
        self._step_seconds += RENEWED * (seconds - self._step_seconds)

    def _passes(self, rows: Sequence[Row]) -> list[int]:
        counts = [row.count + len(row.proposed) for row in rows]
        return passes_of(self._slots(rows), counts, self._layout.unified)

    @staticmethod
    def _slots(rows: Sequence[Row]) -> list[int]:
        return [row.call.slot for row in rows]

    def close(self) -> None:
        """Frees the context of the draft model."""
        if self._draft is not None:
            self._draft.close()
