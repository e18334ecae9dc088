"""Many calls, a few at a time: results in the order of the requests, and an error is a value in its place."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from three_mode.errors import InvalidRequest, ThreeModeError
from three_mode.messages import LLMRequest, LLMResponse

Outcome = LLMResponse | ThreeModeError


class Progress(Struct, frozen=True):
    """How far a batch is; `index` and `outcome` are of the call that ended just now."""

    done: int
    total: int
    failed: int
    index: int
    outcome: Outcome


async def run_batch(
    call: Callable[[LLMRequest], Awaitable[LLMResponse]],
    requests: Sequence[LLMRequest],
    at_once: int,
    progress: Callable[[Progress], object] | None,
) -> list[Outcome]:
    given: Any = requests
    most: Any = at_once
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidRequest(f"batch takes a list of requests, not {type(given).__name__}", field="requests")
    if not isinstance(most, int) or most < 1:
        raise InvalidRequest(f"at_once is at least 1, not {at_once}", field="at_once")
    outcomes: list[Outcome | None] = [None] * len(requests)
    numbered = iter(enumerate(requests))
    done = failed = 0

    async def worker() -> None:
        nonlocal done, failed
        for index, request in numbered:
            try:
                outcome: Outcome = await call(request)
            except ThreeModeError as error:
                outcome = error
                failed += 1
            outcomes[index] = outcome
            done += 1
            if progress is not None:
                told = progress(Progress(done, len(requests), failed, index, outcome))
                if inspect.isawaitable(told):
                    await told

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(requests))):
            group.create_task(worker())
    return [outcome for outcome in outcomes if outcome is not None]
