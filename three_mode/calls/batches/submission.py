"""Submission of a job, batch by batch. A batch is submitted once: where its answer was lost it is looked for, and where
nobody can tell, that is the error.

An upload may be repeated: a file that no batch is made of costs nothing, and expires. What begins a batch may not.
After a lost answer the list of batches tells, exactly at a provider that keeps marks (OpenAI), and by time and size at
one that does not (Anthropic), where only the results of a batch that has ended show whose it is.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from three_mode.calls.batches.journal import SubmissionJournal
from three_mode.calls.batches.names import job_id, place_of
from three_mode.calls.batches.patience import Patience
from three_mode.calls.batches.plan import BatchPlan, Part, planned_marks
from three_mode.channels.batches import AnswerLost, BatchEndpoint
from three_mode.errors import BatchInterrupted, LLMError, ThreeModeError
from three_mode.policies.retry import wait_before_retry
from three_mode.providers.batches import ProviderBatch, custom_id_in

SETTLED = 60.0  # seconds after which a request that its server has not done by then is not done any more
_SKEW = timedelta(seconds=300)  # between the provider's clock and ours
_LOOKS = 4  # at the list of batches, after a lost answer
_PAGES = 50


class Submission:
    """One submission. `until` is its deadline, in the loop's time."""

    def __init__(
        self, endpoint: BatchEndpoint, plan: BatchPlan, journal: SubmissionJournal, patience: Patience, until: float
    ) -> None:
        self._endpoint, self._plan, self._journal = endpoint, plan, journal
        self._patience, self._until = patience, until
        self.in_doubt: Part | None = None
        """The batch of which nobody knows whether it was made."""

    async def run(self) -> list[str]:
        """Submit all that is not submitted yet; the ids of all batches, in order."""
        for part in self._plan.parts:
            if self._journal.part(part.number).created is None:
                try:
                    await self._submit(part)
                except BatchInterrupted:
                    raise
                except ThreeModeError as error:
                    if not part.number:
                        raise
                    raise self._interrupted(f"{error.message}; before that, batches were submitted") from error
        return self.created

    @property
    def created(self) -> list[str]:
        """The batches that certainly were made, in order."""
        states = (self._journal.part(part.number).created for part in self._plan.parts)
        return [batch for batch in states if batch is not None]

    async def _submit(self, part: Part) -> None:
        journal, state = self._journal, self._journal.part(part.number)
        if state.sent_at is not None:  # a process ended before it knew
            self.in_doubt = part
            if await self._look(part, 1):
                return
            self._check_settled(part, None)
        if state.uploaded is None:
            await self._upload(part)
        failures = 0
        outgoing = self._plan.codec.create(
            self._plan.lines_of(part), state.uploaded, planned_marks(self._plan, part), self._plan.headers
        )
        while True:
            await journal.sending(part.number)
            self.in_doubt = part
            try:
                batch = await self._endpoint.create(outgoing, self._until)
                await journal.created(part.number, batch.id)
                self.in_doubt = None
                return
            except AnswerLost as lost:
                if await self._look(part, _LOOKS, lost.error):
                    return
                self._check_settled(part, lost.error)
            except LLMError as error:
                failed_there = error.status is not None and error.status >= 500 and error.status not in (503, 529)
                if failed_there and await self._look(part, 1, error):
                    return
                await journal.not_sent(part.number)
                self.in_doubt = None
                failures += 1
                await self._wait(error, failures)

    async def _wait(self, error: LLMError, failures: int) -> None:
        """Wait before the batch is submitted again; raise its error where that does not help."""
        left = self._until - asyncio.get_running_loop().time()
        wait = wait_before_retry(self._patience.retry, failures, error, left)
        if wait is None:
            raise error
        await self._patience.pause(wait)

    async def _upload(self, part: Part) -> None:
        name = f"{self._plan.job}-{part.number + 1}"
        outgoing = self._plan.codec.upload(self._plan.lines_of(part), name)
        if outgoing is None:
            return
        left = self._until - asyncio.get_running_loop().time()  # it may be large
        upload = await self._patience.persist(
            lambda until: self._endpoint.upload(outgoing, until), self._until, each=left
        )
        await self._journal.uploaded(part.number, upload)

    # A batch is looked for

    async def _look(self, part: Part, times: int, lost: ThreeModeError | None = None) -> bool:
        """Whether the batch is found at the provider. Candidates of which nobody can tell are the error."""
        for number in range(times):
            if number:
                await self._patience.pause(min(2.0 ** (number - 1), 4.0) * self._patience.retry.first)
            try:
                ours, unsure = await self._found(part)
            except ThreeModeError as error:
                raise self._interrupted(f"its answer was lost, and the list of batches too: {error.message}") from error
            if ours is not None:
                await self._journal.created(part.number, ours.id)
                self.in_doubt = None
                return True
            if unsure:
                target, before = self._plan.target, self.created
                raise self._interrupted(
                    _why(lost) + f", and {self._endpoint.name} has batches of this time and size, but keeps no marks",
                    tuple(job_id(target, [*before, batch.id]) for batch in unsure),
                    "look at them with llm.batch_job(candidate): once one has ended, its results tell whose it is; "
                    "with file= the same call finds that out",
                )
        return False

    async def _found(self, part: Part) -> tuple[ProviderBatch | None, list[ProviderBatch]]:
        """The batch; or those that it may be."""
        sent_at = self._journal.part(part.number).sent_at or time.time()
        since = datetime.fromtimestamp(sent_at, UTC) - _SKEW
        marks, unsure = planned_marks(self._plan, part), list[ProviderBatch]()
        after: str | None = None
        for _ in range(_PAGES):
            page = await self._patience.persist(lambda until: self._endpoint.page(after, until), self._until)  # noqa: B023
            for batch in page.batches:
                if batch.created_at is not None and batch.created_at < since:
                    return None, unsure
                if self._plan.codec.keeps_marks:
                    if all(batch.marks.get(name) == value for name, value in marks.items()):
                        return batch, []
                elif batch.total == part.count and batch.id not in self.created:
                    whose = await self._job_in(batch)
                    if whose == self._plan.job:
                        return batch, []
                    if whose is None:
                        unsure.append(batch)
            after = page.after
            if after is None:
                break
        return None, unsure

    async def _job_in(self, batch: ProviderBatch) -> str | None:
        """The job that the results of a batch name; "" for another program's, None where there are none yet."""
        found: list[str] = []

        def first(line: bytes) -> bool:
            place = place_of(custom_id_in(line) or "")
            found.append("" if place is None else place.job)
            return False

        for path in batch.results:
            await self._patience.persist(lambda until: self._endpoint.read_lines(path, until, first), self._until)  # noqa: B023
        return found[0] if found else None

    def _check_settled(self, part: Part, lost: ThreeModeError | None) -> None:
        """Raise BatchInterrupted while a batch that was not found may still come."""
        sent_at = self._journal.part(part.number).sent_at
        if sent_at is not None and time.time() - sent_at < SETTLED:
            raise self._interrupted(
                _why(lost) + ", and the list of batches does not have it by now",
                (),
                f"look again in {SETTLED:g} s: with file= the same call finds it, or submits it then",
            )
        self.in_doubt = None

    def _interrupted(self, why: str, candidates: tuple[str, ...] = (), hint: str | None = None) -> BatchInterrupted:
        target, before = self._plan.target, self.created
        return BatchInterrupted(
            f"{target.provider}: {len(before)} of {len(self._plan.parts)} batches certainly were submitted; {why}",
            provider=target.provider,
            model=target.model,
            job=job_id(target, before) if before else None,
            candidates=candidates,
            hint=hint or "with file= the same call goes on from here; job= and candidates= name what runs already",
        )


def _why(lost: ThreeModeError | None) -> str:
    return "a process ended before its answer came" if lost is None else f"its answer was lost ({lost.message})"
