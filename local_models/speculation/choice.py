"""Choice: how many tokens are proposed for each call of a step, so that most tokens are written in a second. Pure.

A step writes a token for each call, and one more for each proposed token that is right, together with those before it.
What it costs depends on its passes: llama.cpp computes neighbouring sequences of a split cache together for as many
tokens as all of them have, and what some have more in passes of their own. So a step is tried in two shapes: only the
calls with good proposals have more tokens, or all calls have equally many, where some are but there to fill a pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from local_models.speculation.step_cost import StepCost

LENGTHS = (1, 2, 3, 5, 7, 11, 16)
MOST = LENGTHS[-1]  # proposed tokens of a call in a step
WIDE, WIDE_LENGTHS = 16, (1, 3, 7)  # calls from which on only these are tried: to choose takes time for each call
WORTH = 1.03  # least gain over a step without proposals
LEAST_RATES = (0.0, 0.5, 0.8)  # calls with worse proposals have none in the step
TRIAL_RATE = 0.75  # least rate of a proposal for which a size of a pass is tried that was not measured


@dataclass(frozen=True, slots=True)
class GuessOffer:
    """What could be proposed for a call."""

    slot: int
    space: int = 0  #: tokens that have room behind the text
    most: int = 0  #: tokens on offer, at most `space`
    rate: float = 0.0  #: chance of each that it is right, if those before it are
    seconds: float = 0.0  #: cost of a token, where it is still to be drafted
    drafted: bool = False  #: a draft model writes the tokens once they are chosen


@dataclass(frozen=True, slots=True)
class LengthChoice:
    """Tokens that are proposed for each call of a step, in the order of the offers."""

    lengths: Sequence[int]
    filled: bool = False  #: calls with fewer tokens on offer get some that only fill the pass


@dataclass(frozen=True, slots=True)
class StepLayout:
    """Layout of the KV cache, which decides how a step is divided into passes."""

    unified: bool  #: all sequences are computed together
    gap: int = 0  #: most missing sequences between others of a token each that are computed for their sake

    def plain_passes(self, slots: Sequence[int]) -> list[int]:
        """Returns the tokens of each pass of a step with a token for each slot; the slots ascend."""
        if self.unified or slots[-1] - slots[0] == len(slots) - 1:
            return [len(slots)]
        found, low, last = [], slots[0], slots[0]
        for slot in slots[1:]:
            if slot - last > self.gap + 1:
                found.append(last - low + 1)
                low = slot
            last = slot
        return [*found, last - low + 1]


def passes_of(slots: Sequence[int], counts: Sequence[int], unified: bool) -> list[int]:
    """Returns the tokens of each pass of a step with so many tokens for each slot; the slots ascend."""
    if unified or len(slots) == 1:
        return [sum(counts)]
    if slots[-1] - slots[0] == len(slots) - 1 and min(counts) == max(counts):
        return [sum(counts)]
    found, left = [], [[slot, count] for slot, count in zip(slots, counts, strict=True)]
    while left:
        group = left[:1]
        for entry in left[1:]:
            if entry[0] == group[-1][0] + 1:
                group.append(entry)
        least = min(entry[1] for entry in group)
        found.append(least * len(group))
        for entry in group:
            entry[1] -= least
        left = [entry for entry in left if entry[1]]
    return found


def expected_tokens(length: int, rate: float) -> float:
    """Returns the tokens that a call is expected to write in a step with so many proposed."""
    return float(length + 1) if rate >= 1 else (1 - rate ** (length + 1)) / (1 - rate)


def could_gain(callers: int, room: int, seconds: Callable[[int], float]) -> bool:
    """Whether any proposals could pay in a step of so many calls, if all of them were right."""
    plain = callers / max(seconds(callers), 1e-9)
    return any(
        callers * (1 + length) / max(seconds(callers * (1 + length)), 1e-9) > WORTH * plain
        for length in LENGTHS
        if callers * length <= room
    )


def _may_try(length: int, rate: float) -> bool:
    """Whether to try what was not measured: not with proposals that are longer than they are mostly right."""
    return rate >= TRIAL_RATE and length * (1 - rate) <= rate


def choose(
    offers: Sequence[GuessOffer],
    room: int,
    layout: StepLayout,
    cost: StepCost,
    beside: float = 0.0,
) -> LengthChoice | None:
    """Returns what to propose, with at most `room` tokens in all; None: nothing, as that is fastest.

    `beside` are the seconds of a step with proposals beside its passes.
    """
    seconds = cost.seconds
    slots = [offer.slot for offer in offers]
    best_rate = WORTH * len(offers) / max(sum(map(seconds, layout.plain_passes(slots))), 1e-9)
    best: LengthChoice | None = None
    tried: set[tuple[int, ...]] = set()
    for length in LENGTHS if len(offers) < WIDE else WIDE_LENGTHS:
        for least in LEAST_RATES:
            lengths = [min(length, offer.most) if offer.rate >= least else 0 for offer in offers]
            if tuple(lengths) in tried or not any(lengths):
                continue
            tried.add(tuple(lengths))
            tokens = sum([expected_tokens(count, offer.rate) for count, offer in zip(lengths, offers, strict=True)])
            drafting = sum([count * offer.seconds for count, offer in zip(lengths, offers, strict=True)])
            certain = min(offer.rate for count, offer in zip(lengths, offers, strict=True) if count)
            shapes = [(lengths, False)]
            if not layout.unified and min(lengths) < length <= min([offer.space for offer in offers]):
                shapes.append(([length] * len(offers), True))
            for shape, filled in shapes:
                if sum(shape) > room:
                    continue
                passes = passes_of(slots, [1 + count for count in shape], layout.unified)
                if not all(map(cost.known, passes)) and not (
                    _may_try(max(shape), certain) and all(map(cost.within_reach, passes))
                ):
                    continue
                rate = tokens / max(sum(map(seconds, passes)) + drafting + beside, 1e-9)
                if rate > best_rate:
                    best_rate, best = rate, LengthChoice(lengths, filled)
    return best
