"""Job of one connection: requests that a provider answers within a day, in one batch or several."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from three_mode.calls.batch import Outcome
from three_mode.calls.batches.accounts import BatchAccounts, BatchedOutcome
from three_mode.calls.batches.collecting import Collected, missing
from three_mode.calls.batches.names import RequestPlace, custom_id, job_id
from three_mode.calls.batches.patience import Patience
from three_mode.calls.batches.plan import AT_ONCE, PlannedRequest
from three_mode.calls.batches.status import BatchStatus, requests_in, status_of
from three_mode.channels.batches import BatchEndpoint
from three_mode.errors import DeadlineExceeded, InvalidRequest, LLMError, ThreeModeError
from three_mode.handling import current as handled
from three_mode.handling import time_for
from three_mode.messages import LLMResponse
from three_mode.observe.logs import event, logger
from three_mode.policies import Target
from three_mode.policies.retry import backoff
from three_mode.policies.tallies import ZERO
from three_mode.providers.batches import ProviderBatch
from three_mode.providers.emulation import calls_from_text
from three_mode.providers.profile import Profile

T = TypeVar("T")
A_DAY = 25 * 3600.0  # seconds: the day that providers take, and an hour
FIRST_POLL, LAST_POLL, GROWTH = 5.0, 60.0, 1.5  # seconds between polls, where the caller does not say
WITHIN = 30.0


class BatchJob:
    """A batch at its provider. `llm.batch_job(job.id)` gives another handle on it, also in another process."""

    def __init__(
        self,
        target: Target,
        batches: Sequence[str],
        endpoint: BatchEndpoint,
        profile: Profile,
        patience: Patience,
        accounts: BatchAccounts,
        hook: Callable[[LLMResponse], Awaitable[LLMResponse]],
        planned: Sequence[PlannedRequest] = (),
    ) -> None:
        """`LLMConnection.batch` and `batch_job` make jobs."""
        self._target, self._batches, self._endpoint = target, tuple(batches), endpoint
        self._profile, self._patience, self._accounts, self._hook = profile, patience, accounts, hook
        self._planned = planned
        self._outcomes: list[Outcome] | None = None

    def __repr__(self) -> str:
        return f"<BatchJob {self.id}>"

    @property
    def id(self) -> str:
        """Names provider, model and batches: all that another process needs to go on with the job."""
        return job_id(self._target, list(self._batches))

    async def status(self, *, within: float = WITHIN) -> BatchStatus:
        """Asks the provider how far the job is."""
        return status_of(await self._retrieve(self._until(within)))

    async def cancel(self, *, within: float = WITHIN) -> BatchStatus:
        """Asks the provider to end the job. What is answered by then stays, and is paid for; `results` gives it."""
        until = self._until(within)
        return status_of(await self._all(self._cancel, until))

    async def results(
        self,
        *,
        within: float | None = None,
        every: float | None = None,
        progress: Callable[[BatchStatus], object] | None = None,
    ) -> list[Outcome]:
        """Waits until the job has ended: results in the order of the requests, an error as a value in its place.

        `within` seconds at most (25 hours where none are given), asking `every` so many seconds (5, then longer, up to
        a minute). `progress` is called with the status when it has changed. A deadline ends the wait, not the job.
        """
        if every is not None and not every > 0:
            raise InvalidRequest(f"every is a number of seconds above 0, not {every!r}", field="every")
        if self._outcomes is not None:
            return list(self._outcomes)
        until = asyncio.get_running_loop().time() + time_for(within, handled.get(), A_DAY)
        batches = await self._wait(until, every, progress)
        outcomes: list[Outcome] = []
        for batch in batches:
            outcomes += await self._read(batch, len(outcomes), until)
        self._outcomes = outcomes
        return list(outcomes)

    # The provider is asked

    def _until(self, within: float) -> float:
        return asyncio.get_running_loop().time() + time_for(within, handled.get())

    async def _retrieve(self, until: float, endless: bool = False) -> list[ProviderBatch]:
        async def one(batch: str, until: float) -> ProviderBatch:
            return await self._patience.persist(
                lambda due: self._endpoint.retrieve(batch, due), until, endless=endless, failed=self._told
            )

        return await self._all(one, until)

    async def _cancel(self, batch: str, until: float) -> ProviderBatch:
        try:
            return await self._patience.persist(lambda due: self._endpoint.cancel(batch, due), until)
        except LLMError as error:
            if error.status is None or not 400 <= error.status < 500:
                raise
            known = await self._patience.persist(lambda due: self._endpoint.retrieve(batch, due), until)
            if not known.done:  # else it had ended before
                raise
            return known

    async def _all(self, ask: Callable[[str, float], Awaitable[ProviderBatch]], until: float) -> list[ProviderBatch]:
        """Ask for all batches of the job, side by side. The first error ends it."""
        tasks = [asyncio.ensure_future(ask(batch, until)) for batch in self._batches]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def _told(self, error: ThreeModeError) -> None:
        if logger.isEnabledFor(logging.WARNING):
            event(logging.WARNING, "llm_batch_retry", self.id, detail=error.message, provider=self._target.provider)

    async def _wait(
        self, until: float, every: float | None, progress: Callable[[BatchStatus], object] | None
    ) -> list[ProviderBatch]:
        """The batches, once all have ended."""
        loop, last, pause, last_chance = asyncio.get_running_loop(), None, every or FIRST_POLL, False
        while True:
            batches = await self._in_time(self._retrieve(until, endless=True), last)
            status = status_of(batches)
            if progress is not None and status != last:
                told = progress(status)
                if inspect.isawaitable(told):
                    await told
            if status.done:
                return batches
            last, left = status, until - loop.time()
            if left <= pause:  # the last question is a little before the end
                if last_chance:
                    raise self._late(last)
                last_chance, pause = True, left - min(1.0, left / 2)
            await self._patience.pause(max(0.0, pause))
            if every is None:
                pause = min(LAST_POLL, pause * GROWTH)

    async def _in_time(self, work: Awaitable[T], status: BatchStatus | None) -> T:
        """The result of work that is repeated for as long as there is time."""
        try:
            return await work
        except ThreeModeError as error:
            if not error.retryable:
                raise
            raise self._late(status, error) from error

    def _late(self, status: BatchStatus | None, error: ThreeModeError | None = None) -> DeadlineExceeded:
        known = f": {status.waiting} of {status.total} requests wait" if status is not None and not status.done else ""
        why = known if error is None else f"{known}: {error.message}"
        return DeadlineExceeded(
            f"{self._target.provider}: the results of the batch were not here in the time allowed{why}",
            stage="total",
            provider=self._target.provider,
            model=self._target.model,
            hint=f"the job goes on at the provider: llm.batch_job({self.id!r}).results() waits again",
        )

    # Results are read

    async def _read(self, batch: ProviderBatch, first: int, until: float) -> list[Outcome]:
        """The results of one batch, whose requests begin at `first`, and are booked now."""
        collected = await self._in_time(self._downloaded(batch, until), None)
        count = self._count(batch, collected, first)
        if count and not collected.indexes and collected.strays:
            raise InvalidRequest(
                f"{self._target.provider}: the batch {batch.id} was not submitted by three-mode: the custom ids of its "
                "results name no place in a job",
                field="id",
                provider=self._target.provider,
                hint="read it with the program that submitted it",
            )
        answered: list[BatchedOutcome] = []
        for index in range(first, first + count):
            if index % AT_ONCE == 0:
                await asyncio.sleep(0)  # other tasks have their turn
            answered.append(await self._answered(batch, collected, first, index))
        self._accounts.book(self._target, batch, answered)
        for planned in self._planned[first : first + count]:
            planned.reserved = ZERO
        strays = len(collected.indexes - set(range(first, first + count))) + collected.strays
        if strays or collected.repeated or collected.unreadable:
            event(
                logging.WARNING,
                "llm_batch_odd_results",
                batch.id,
                provider=self._target.provider,
                strays=strays,
                repeated=collected.repeated,
                unreadable=collected.unreadable,
            )
        return [each.outcome for each in answered]

    async def _downloaded(self, batch: ProviderBatch, until: float) -> Collected:
        """All results of a batch. They are read again from the beginning where they are cut; a few times also where
        they are fewer than the provider counted, or have lines that cannot be read."""
        endpoint, left = self._endpoint, until - asyncio.get_running_loop().time()
        collected = Collected(self._target, endpoint.codec.outcome, endpoint.reply)

        async def once(due: float) -> None:
            collected.begin()
            for path in batch.results:
                await endpoint.read_lines(path, due, collected.take)

        for failures in range(1, self._patience.retry.attempts + 1):
            await self._patience.persist(once, until, each=left, endless=True, failed=self._told)
            if collected.whole >= batch.succeeded + batch.failed and not collected.unreadable:
                break
            wait = backoff(self._patience.retry, failures)
            if failures == self._patience.retry.attempts or until - asyncio.get_running_loop().time() <= wait:
                break
            await self._patience.pause(wait)
        return collected

    def _count(self, batch: ProviderBatch, collected: Collected, first: int) -> int:
        """How many requests the batch has."""
        if self._planned and len(self._batches) == 1:
            return len(self._planned)
        known = requests_in(batch)
        if known is None and batch.problems:
            raise self._endpoint.refusal(batch.problems[0])
        return known if known is not None else max((index + 1 - first for index in collected.indexes), default=0)

    async def _answered(self, batch: ProviderBatch, collected: Collected, first: int, index: int) -> BatchedOutcome:
        """One request and its outcome, complete but not booked."""
        target = self._target
        planned = self._planned[index] if index < len(self._planned) else None
        place, found = collected.of(index)
        if found is None:
            found = self._refused(batch, index - first) if batch.problems else missing(batch, collected, target)
        if place is None:
            label = planned.label if planned is not None else None
            place = RequestPlace(next(iter(collected.jobs), "0" * 12), index, False, label)
        name = custom_id(place)
        if isinstance(found, LLMResponse):
            reply = self._accounts.completed(found, name, target, self._profile, batch)
            if place.emulated:
                reply = calls_from_text(reply)
            try:
                found = await self._hook(reply)
            except ThreeModeError as error:
                found = error
        elif isinstance(found, LLMError):
            found.model = found.model or target.model
            found.request_id = found.request_id or name
        request, reserved = (planned.request, planned.reserved) if planned is not None else (None, ZERO)
        return BatchedOutcome(name, place.label, found, request, reserved)

    def _refused(self, batch: ProviderBatch, line: int) -> LLMError:
        """The error of a request whose batch was refused: its own, or that of another one."""
        own = next((problem for problem in batch.problems if problem.line == line), None)
        return self._endpoint.refusal(own or batch.problems[0])
