"""Results of one batch, collected line by line, in any order and over any number of downloads. Pure.

The first result of a request stands. A line that cannot be read is an error of its request alone, where it still says
whose it is; results for nobody are counted.
"""

from collections.abc import Callable

from three_mode.calls.batches.names import RequestPlace, place_of
from three_mode.errors import BadReply, BatchCancelled, DeadlineExceeded, LLMError, ThreeModeError
from three_mode.messages import LLMResponse
from three_mode.policies import Target
from three_mode.providers.batches import LineOutcome, ProviderBatch, custom_id_in

Read = Callable[[LineOutcome], LLMResponse | LLMError]
Found = LLMResponse | ThreeModeError


class Collected:
    """Results of a batch so far, by the index of their request."""

    def __init__(self, target: Target, outcome: Callable[[bytes], LineOutcome], read: Read) -> None:
        self._target, self._outcome, self._read = target, outcome, read
        self._found: dict[int, tuple[RequestPlace, Found]] = {}
        # Those whose line could not be read; another download may have it.
        self._broken: dict[int, tuple[RequestPlace, Found]] = {}
        self.jobs: set[str] = set()
        """Names of jobs in the custom ids."""
        self.strays = self.repeated = self.unreadable = 0
        self._seen: set[int] = set()

    def begin(self) -> None:
        """Begin a download of all results, of which those so far may be a part."""
        self.strays = self.repeated = self.unreadable = 0
        self._seen = set()

    @property
    def whole(self) -> int:
        """How many results could be read."""
        return len(self._found)

    @property
    def indexes(self) -> set[int]:
        """The places that results named."""
        return self._found.keys() | self._broken.keys()

    def of(self, index: int) -> tuple[RequestPlace | None, Found | None]:
        """The result of one request; None where there is none."""
        return self._found.get(index) or self._broken.get(index) or (None, None)

    def take(self, line: bytes) -> bool:
        """Take a line of results; True: go on."""
        try:
            outcome = self._outcome(line)
        except LLMError as error:
            self.unreadable += 1
            place = place_of(custom_id_in(line) or "")
            if place is not None:
                self._broken[place.index] = (place, error)
            return True
        place = place_of(outcome.custom_id)
        if place is None:
            self.strays += 1
        elif place.index in self._seen:
            self.repeated += 1
        else:
            self.jobs.add(place.job)
            self._seen.add(place.index)
            if place.index not in self._found:
                self._found[place.index] = (place, self._result(outcome))
        return True

    def _result(self, outcome: LineOutcome) -> Found:
        if outcome.ended is not None:
            return unanswered(outcome.ended, self._target)
        return self._read(outcome)


def unanswered(how: str, target: Target) -> ThreeModeError:
    """The error of a request that its provider did not answer."""
    if how == "expired":
        return DeadlineExceeded(
            f"{target.provider}: the batch expired before this request was answered",
            stage="batch",
            provider=target.provider,
            model=target.model,
            hint="submit it again",
        )
    return BatchCancelled(
        f"{target.provider}: the batch was cancelled before this request was answered",
        provider=target.provider,
        model=target.model,
    )


def missing(batch: ProviderBatch, collected: Collected, target: Target) -> ThreeModeError:
    """The error of a request without a result."""
    if batch.state in ("expired", "cancelled"):
        return unanswered(batch.state, target)
    unreadable = f"; {collected.unreadable} lines could not be read" if collected.unreadable else ""
    return BadReply(
        f"{target.provider}: the batch has ended, and its results have none for this request{unreadable}",
        provider=target.provider,
        model=target.model,
        hint="submit it again",
    )
