"""Acceptance: how often proposed tokens are the ones that the model chooses, by what they were proposed from. Pure.

A rate is the chance of a token whose predecessors were all right. It is measured for the whole model and for each call.
A proposal that was not put into a step counts too: what the call then wrote says whether it would have been right. So
to have a rate costs nothing, and speculation that was given up is taken up again once it would be right.
"""

from collections.abc import Sequence
from enum import IntEnum

MEMORY_OF_MODEL, MEMORY_OF_CALL = 512.0, 48.0  # tokens after which a count has lost two thirds of its weight
WEIGHT_OF_MODEL = 6.0  # tokens of a call that count as much as what is known from all others


class GuessSource(IntEnum):
    """Where a proposal is from. The text of a call counts by the number of tokens that were alike."""

    TEXT_2 = 0
    TEXT_4 = 1
    TEXT_8 = 2
    TEXT_16 = 3
    SHARED = 4
    DRAFT = 5


_EXPECTED = (0.3, 0.6, 0.8, 0.92, 0.5, 0.7)  # rate of each source before it was measured
_EXPECTED_TOKENS = 8.0  # tokens that these expectations count as


def text_source(alike: int) -> GuessSource:
    """Returns the source of a proposal from a call's own text, where so many tokens were alike."""
    if alike >= 8:
        return GuessSource.TEXT_16 if alike >= 16 else GuessSource.TEXT_8
    return GuessSource.TEXT_4 if alike >= 4 else GuessSource.TEXT_2


class _Counts:
    """Right and wrong tokens of each source; older ones weigh less."""

    __slots__ = ("_memory", "right", "wrong")

    def __init__(self, memory: float, right: Sequence[float], wrong: Sequence[float]) -> None:
        self._memory, self.right, self.wrong = memory, list(right), list(wrong)

    def record(self, source: GuessSource, right: int, wrong: int) -> None:
        kept = max(1 - (right + wrong) / self._memory, 0.3)
        self.right[source] = self.right[source] * kept + right
        self.wrong[source] = self.wrong[source] * kept + wrong


class ModelAcceptance:
    """Rates of all calls of a model."""

    def __init__(self) -> None:
        right = [rate * _EXPECTED_TOKENS for rate in _EXPECTED]
        self.counts = _Counts(MEMORY_OF_MODEL, right, [_EXPECTED_TOKENS - value for value in right])

    def rate(self, source: GuessSource) -> float:
        """Returns the chance that a token of this source is right."""
        right = self.counts.right[source]
        return right / (right + self.counts.wrong[source])


class CallAcceptance:
    """Rates of one call, which begin as those of the model."""

    __slots__ = ("_counts", "_model")

    def __init__(self, model: ModelAcceptance) -> None:
        self._model = model
        nothing = [0.0] * len(GuessSource)
        self._counts = _Counts(MEMORY_OF_CALL, nothing, nothing)

    def record(self, source: GuessSource, right: int, wrong: int) -> None:
        """Counts tokens that were right before one that was wrong, of which there is at most one."""
        self._counts.record(source, right, wrong)
        self._model.counts.record(source, right, wrong)

    def rate(self, source: GuessSource) -> float:
        """Returns the chance that a token of this source is right."""
        right, wrong = self._counts.right[source], self._counts.wrong[source]
        weight = WEIGHT_OF_MODEL
        return (right + weight * self._model.rate(source)) / (right + wrong + weight)
