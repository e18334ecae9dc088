"""Status of a job: that of its batches at the provider, in one value."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from three_mode.providers.batches import BatchState, ProviderBatch

REQUESTS = "three_mode_requests"  # the mark that says how many requests a batch has


class BatchStatus(Struct, frozen=True, kw_only=True):
    """How far a job is."""

    state: (
        BatchState  #: "validating", "running" or "cancelling"; at its end "completed", "failed", "expired", "cancelled"
    )
    done: bool  #: whether it has ended, so that its results can be read
    total: int  #: requests; 0 where the provider does not say so yet
    succeeded: int = 0  #: requests that have a reply
    failed: int = 0  #: requests that the provider refused, or failed to answer
    cancelled: int = 0  #: requests that were not answered, since the job was cancelled
    expired: int = 0  #: requests that were not answered in the provider's time
    created_at: datetime | None = None  #: when it was submitted, by the provider's clock
    expires_at: datetime | None = None  #: when the provider gives up what is not answered
    ended_at: datetime | None = None  #: when it ended, by the provider's clock

    @property
    def waiting(self) -> int:
        """Requests that have not ended, as far as the provider tells before the end."""
        return max(0, self.total - self.succeeded - self.failed - self.cancelled - self.expired)


def status_of(batches: Sequence[ProviderBatch]) -> BatchStatus:
    """The status of a job with these batches."""
    done = all(batch.done for batch in batches)
    ended = [batch.ended_at for batch in batches if batch.ended_at is not None]
    return BatchStatus(
        state=_state(batches, done),
        done=done,
        total=sum(requests_in(batch) or 0 for batch in batches),
        succeeded=sum(batch.succeeded for batch in batches),
        failed=sum(batch.failed for batch in batches),
        cancelled=sum(batch.cancelled for batch in batches),
        expired=sum(batch.expired for batch in batches),
        created_at=min((batch.created_at for batch in batches if batch.created_at is not None), default=None),
        expires_at=max((batch.expires_at for batch in batches if batch.expires_at is not None), default=None),
        ended_at=max(ended, default=None) if done else None,
    )


def requests_in(batch: ProviderBatch) -> int | None:
    """How many requests a batch has, also before its provider has counted them; None: nobody says so."""
    marked = batch.marks.get(REQUESTS, "")
    return int(marked) if marked.isascii() and marked.isdigit() else batch.total


def _state(batches: Sequence[ProviderBatch], done: bool) -> BatchState:
    """The state that says most of them together."""
    states = {batch.state for batch in batches}
    if len(states) == 1:
        return states.pop()
    order: tuple[BatchState, ...] = ("failed", "expired", "cancelled", "completed")
    if not done:
        return "cancelling" if "cancelling" in states else "running"
    return next(state for state in order if state in states)
