"""Batch jobs for code without an event loop: `three_mode.sync.BatchJob`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from three_mode.background_loop import LOOP as _LOOP
from three_mode.calls.batches import BatchStatus
from three_mode.calls.batches.job import WITHIN

if TYPE_CHECKING:
    from three_mode.calls.batch import Outcome
    from three_mode.calls.batches import BatchJob as AsyncBatchJob


class BatchJob:
    """A batch at its provider. `llm.batch_job(job.id)` gives another handle on it, also in another process."""

    def __init__(self, job: "AsyncBatchJob") -> None:
        self._async = job

    def __repr__(self) -> str:
        return f"<sync {self._async!r}>"

    @property
    def id(self) -> str:
        """Names provider, model and batches: all that another process needs to go on with the job."""
        return self._async.id

    def status(self, *, within: float = WITHIN) -> BatchStatus:
        """Asks the provider how far the job is."""
        return _LOOP.run(self._async.status(within=within))

    def cancel(self, *, within: float = WITHIN) -> BatchStatus:
        """Asks the provider to end the job. What is answered by then stays, and is paid for; `results` gives it."""
        return _LOOP.run(self._async.cancel(within=within))

    def results(
        self,
        *,
        within: float | None = None,
        every: float | None = None,
        progress: Callable[[BatchStatus], object] | None = None,
    ) -> "list[Outcome]":
        """Waits until the job has ended: results in the order of the requests, an error as a value in its place.

        `within` seconds at most (25 hours where none are given), asking `every` so many seconds. `progress` is called
        with the status when it has changed, from the background thread.
        """
        return _LOOP.run(self._async.results(within=within, every=every, progress=progress))
