"""Jobs of one connection: submits them, and finds them again by their ids."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from three_mode.calls.batches.accounts import BatchAccounts
from three_mode.calls.batches.job import BatchJob
from three_mode.calls.batches.journal import SubmissionJournal
from three_mode.calls.batches.names import new_job_name, read_job_id
from three_mode.calls.batches.patience import Patience
from three_mode.calls.batches.plan import BatchPlan, PlannedRequest, Planner
from three_mode.calls.batches.submission import Submission
from three_mode.calls.call_log import CallLog
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.calls.request_prep import CallDefaults, RequestPrep
from three_mode.calls.targets import Targets
from three_mode.channels.batches import BatchEndpoint
from three_mode.channels.channel import Endpoint
from three_mode.handling import current as handled
from three_mode.handling import time_for
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.policies import RetryOptions, Target

SUBMIT_WITHIN = 600.0  # seconds, where the caller does not say: a batch may have 200 MB


class BatchJobs:
    """The jobs of one connection."""

    def __init__(
        self,
        targets: Targets,
        accounts: ProviderAccounts,
        defaults: CallDefaults,
        log: CallLog,
        retry: RetryOptions,
        endpoint: Callable[[str], Endpoint],
        hook: Callable[[LLMResponse], Awaitable[LLMResponse]],
    ) -> None:
        self._accounts, self._endpoint, self._hook = accounts, endpoint, hook
        self._planner = Planner(targets, accounts, defaults, RequestPrep(accounts, log))
        self._patience, self._booked = Patience(retry), BatchAccounts(log)

    def close(self) -> None:
        """End all waits. The jobs go on at their providers."""
        self._patience.close()

    async def submit(
        self, requests: Sequence[LLMRequest], within: float | None = None, file: str | Path | None = None
    ) -> BatchJob:
        """Submit a job, or go on with the one that the file tells of."""
        until = asyncio.get_running_loop().time() + time_for(within, handled.get(), SUBMIT_WITHIN)
        journal = SubmissionJournal(file)
        await journal.open()
        try:
            plan = await self._planner.plan(requests, lambda digest: journal.job or new_job_name())
            return await self._submit(plan, journal, until)
        finally:
            journal.close()

    async def _submit(self, plan: BatchPlan, journal: SubmissionJournal, until: float) -> BatchJob:
        submission: Submission | None = None
        try:
            endpoint = self._batches_of(plan.target)
            await journal.begin(plan.job, str(plan.target), plan.digest, [part.count for part in plan.parts])
            submission = Submission(endpoint, plan, journal, self._patience, until)
            batches = await submission.run()
        except BaseException:
            doubt = submission.in_doubt if submission is not None else None
            for part in plan.parts:
                if part != doubt and journal.part(part.number).created is None:
                    self._planner.release(plan.target, plan.requests[part.first : part.first + part.count])
            raise
        return self._job(plan.target, batches, endpoint, plan.requests)

    def job(self, job: str) -> BatchJob:
        """The job of an id."""
        target, batches = read_job_id(job)
        return self._job(target, batches, self._batches_of(target))

    def _batches_of(self, target: Target) -> BatchEndpoint:
        from three_mode.providers.batches import batch_codec

        batch_codec(self._accounts.profile(target.provider))  # an error where it has none
        endpoint: Any = self._endpoint(target.provider)
        return BatchEndpoint(endpoint)

    def _job(
        self,
        target: Target,
        batches: Sequence[str],
        endpoint: BatchEndpoint,
        planned: Sequence[PlannedRequest] = (),
    ) -> BatchJob:
        profile = self._accounts.profile(target.provider)
        return BatchJob(target, batches, endpoint, profile, self._patience, self._booked, self._hook, planned)
